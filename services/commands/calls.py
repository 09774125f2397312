"""Calls: hang up a channel, a parked call or a queue entry; call another user."""

from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from schemas.acts.channel import ChannelHangup, ChannelOriginate
from services.accounts.accounts import Account
from services.commands.act import request_act
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.commands.targets import fetch_one, wait_visible
from services.runtime.errors import Conflict, Invalid, NotFound

TECHNOLOGY = {"pjsip_endpoint": "PJSIP", "sip_peer": "SIP"}
RING_SECONDS = 30
UNQUOTED = str.maketrans("", "", '"\\')

# The contacts of both users, oldest first, each at every PBX that has its target.
CONTACTS = """
SELECT c.uuid, c.user_uuid, c.kind, c.target, t.pbx
FROM contacts c
JOIN (
    SELECT pbx, 'pjsip_endpoint' AS kind, object_name AS target FROM pjsip_endpoints
    UNION ALL
    SELECT pbx, 'sip_peer', substr(peer, 5) FROM peers WHERE peer LIKE 'SIP/%'
) t ON t.kind = c.kind AND t.target = c.target AND (c.at_pbx = '' OR c.at_pbx = t.pbx)
WHERE (c.user_uuid IN ($1, $2) OR c.uuid = $3) AND ($4::text IS NULL OR t.pbx = $4)
ORDER BY c.tm_create, c.uuid, t.pbx
"""


class HangupTarget(Struct, frozen=True):
    """A kind of channel; ``sql`` selects ``pbx`` and ``channel``, with $1 the PBX or None, and $2 the unique id."""

    kind: str
    model: str
    sql: str


CHANNEL = HangupTarget(
    "channel",
    "channels",
    """
    SELECT pbx, channel FROM channels WHERE ($1::text IS NULL OR pbx = $1) AND unique_id = $2 ORDER BY pbx
    """,
)
PARKED_CALL = HangupTarget(
    "parked call",
    "parked_calls",
    """
    SELECT pbx, parkee_channel AS channel FROM parked_calls
    WHERE ($1::text IS NULL OR pbx = $1) AND parkee_unique_id = $2
    """,
)
QUEUE_ENTRY = HangupTarget(
    "queue entry",
    "queue_entries",
    """
    SELECT e.pbx, coalesce(c.channel, e.channel) AS channel
    FROM queue_entries e
    LEFT JOIN channels c ON c.pbx = e.pbx AND c.unique_id = e.unique_id
    WHERE ($1::text IS NULL OR e.pbx = $1) AND e.unique_id = $2
    """,
)


class Call(Struct, frozen=True):
    """The callee is a user, or one of a user's contacts. ``caller_contact`` is the caller's contact to ring first.

    Without ``caller_contact`` it is the caller's oldest contact at the same PBX as a contact of the callee.
    """

    callee_user: str | None = None
    callee_contact: str | None = None
    caller_contact: str | None = None


async def hang_up(
    context: CommandContext, request: RequestContext, target: HangupTarget, pbx: str | None, unique_id: str
) -> Outcome:
    """Hang up a channel, at the named PBX or the one that has it."""
    row = await fetch_one(context.pool, target.sql, pbx, unique_id, kind=f"{target.kind} {unique_id}")
    outcome = await request_act(context, request, row["pbx"], ChannelHangup(row["channel"]))
    await wait_visible(context, target.model, target.sql, pbx, unique_id, until=lambda rows: not rows)
    return outcome


async def call(
    context: CommandContext, request: RequestContext, caller: Account, new: Call, pbx: str | None
) -> Outcome:
    """Ring the caller's own contact; when it answers, it dials the callee's, which shows the caller's name.

    The outcome is that of the originate; the call itself follows as events of its channels.
    """
    if (new.callee_user is None) == (new.callee_contact is None):
        raise Invalid("either uuid_user or uuid_contact is needed")
    rows = await context.pool.fetch(CONTACTS, caller.uuid, new.callee_user, new.callee_contact, pbx)
    theirs = [row for row in rows if new.callee_user == row["user_uuid"] or new.callee_contact == row["uuid"]]
    if caller.uuid in {new.callee_user, *(row["user_uuid"] for row in theirs)}:
        raise Invalid("a user cannot call themselves")
    if not theirs:
        raise NotFound("not found: the contact, or its target at any PBX")
    own = [row for row in rows if row["user_uuid"] == caller.uuid and new.caller_contact in {None, row["uuid"]}]
    if not own:
        raise Conflict("you do not have this contact, or no PBX has its target")
    first, second = _pair_at_one_pbx(own, theirs)
    name = (caller.name or caller.username).translate(UNQUOTED)
    originate = ChannelOriginate(
        channel=_dial_string(first),
        application="Dial",
        data=f"{_dial_string(second)},{RING_SECONDS}",
        caller_id=f'"{name}" <{first["target"]}>',
        timeout=RING_SECONDS * 1000,
    )
    return await request_act(context, request, first["pbx"], originate)


def _pair_at_one_pbx(
    own: Sequence[asyncpg.Record], theirs: Sequence[asyncpg.Record]
) -> tuple[asyncpg.Record, asyncpg.Record]:
    for first in own:
        for second in theirs:
            if first["pbx"] == second["pbx"]:
                return first, second
    raise Conflict("the two contacts are not at the same PBX")


def _dial_string(contact: asyncpg.Record) -> str:
    return f"{TECHNOLOGY[contact['kind']]}/{contact['target']}"
