"""POST /me/calls: a call between one's own phone and another user's. Not in the seed, whose contacts it connects.

One's own contact is rung first; when it answers, it dials the other one, which sees who is calling.
"""

from collections.abc import Sequence

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.app_keys import POOL
from api.http.auth import USER
from api.http.body import Uuid, read_body
from api.http.errors import ApiError
from api.jade.writes import answer
from schemas.acts.channel import ChannelOriginate
from services.commands.act import act

TECHNOLOGY = {"pjsip_endpoint": "PJSIP", "sip_peer": "SIP"}
RING_SECONDS = 30
UNQUOTED = str.maketrans("", "", '"\\')

# The contacts of both, oldest first, each at every PBX that has its target.
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


class Call(Struct, frozen=True):
    """Body: whom to call, a user or one of a user's contacts; ``uuid_my_contact`` names the phone to call from.

    Where none is named it is the first one that was made, of those that are at the same PBX.
    """

    uuid_user: Uuid | None = None
    uuid_contact: Uuid | None = None
    uuid_my_contact: Uuid | None = None


async def create(request: web.Request) -> web.Response:
    """Have one's own contact rung. The call itself is heard as events of its channels."""
    wanted = await read_body(request, Call)
    if (wanted.uuid_user is None) == (wanted.uuid_contact is None):
        raise ApiError(400, "either uuid_user or uuid_contact is needed")
    me = request[USER]
    callee, contact, own = (
        text.lower() if text else None for text in (wanted.uuid_user, wanted.uuid_contact, wanted.uuid_my_contact)
    )
    rows = await request.app[POOL].fetch(CONTACTS, me.uuid, callee, contact, request.query.get("pbx"))
    theirs = [row for row in rows if callee == row["user_uuid"] or contact == row["uuid"]]
    if me.uuid in {callee, *(row["user_uuid"] for row in theirs)}:
        raise ApiError(400, "a call is to somebody else")
    if not theirs:
        raise ApiError(404, "no such contact, or no PBX has its target")
    mine = [row for row in rows if row["user_uuid"] == me.uuid and own in {None, row["uuid"]}]
    if not mine:
        raise ApiError(409, "you have no such contact, or no PBX has its target")
    caller, called = at_one_pbx(mine, theirs)
    name = (me.name or me.username).translate(UNQUOTED)
    originate = ChannelOriginate(
        channel=dialled(caller),
        application="Dial",
        data=f"{dialled(called)},{RING_SECONDS}",
        caller_id=f'"{name}" <{caller["target"]}>',
        timeout=RING_SECONDS * 1000,
    )
    return answer(await act(request, caller["pbx"], originate))


def at_one_pbx(
    mine: Sequence[asyncpg.Record], theirs: Sequence[asyncpg.Record]
) -> tuple[asyncpg.Record, asyncpg.Record]:
    """Return the first two that are at the same PBX. Raises ApiError 409 when none are."""
    for caller in mine:
        for called in theirs:
            if caller["pbx"] == called["pbx"]:
                return caller, called
    raise ApiError(409, "the two contacts are not at the same PBX")


def dialled(contact: asyncpg.Record) -> str:
    """Return how Asterisk dials a contact."""
    return f"{TECHNOLOGY[contact['kind']]}/{contact['target']}"
