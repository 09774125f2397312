"""Which acts on a PBX have no outcome yet: from the read model as far as it goes, from the log after that."""

import asyncpg
import msgspec
from msgspec import Struct, field

from services.database import connection as database
from services.log.read import head_position

FOLDED = """
SELECT position FROM ledger.checkpoint
WHERE model = 'acts' AND place = 'model' AND to_regclass('model.acts') IS NOT NULL
"""
OPEN = "SELECT id, requested, state FROM model.acts WHERE pbx = $1 AND state IN ('requested', 'sent')"
TAIL = """
SELECT position, name, raw FROM ledger.event
WHERE pbx = $1 AND source = 'ringledger' AND position > $2
  AND name IN ('ActRequested', 'ActSent', 'ActSucceeded', 'ActFailed', 'ActUnknown')
ORDER BY position
"""


class Named(Struct):
    """Any of these events."""

    id: str


class Unfinished(Struct, frozen=True):
    """What stood in the log up to ``head``; ``after`` is a position before the first of the ``requested`` ones.

    ``sent`` are the ids of those that were sent, ``requested`` the positions of those that were not.
    """

    head: int
    after: int
    sent: list[str] = field(default_factory=list)
    requested: frozenset[int] = frozenset()


async def unfinished(connection: asyncpg.Connection, pbx: str) -> Unfinished:
    """Look them up."""
    states: dict[str, tuple[int, bool]] = {}
    async with database.snapshot(connection):
        head = await head_position(connection)
        folded = await connection.fetchval(FOLDED) or 0
        if folded:
            for act_id, requested, state in await connection.fetch(OPEN, pbx):
                states[act_id] = requested, state == "sent"
        async for position, name, raw in connection.cursor(TAIL, pbx, folded):
            act_id = id_of(raw)
            if act_id is None:
                continue  # `Term` says so when it comes there; the read model has it among what is unfit
            if name == "ActRequested":
                states.setdefault(act_id, (position, False))
            elif name == "ActSent" and act_id in states:
                states[act_id] = states[act_id][0], True
            elif name != "ActSent":
                states.pop(act_id, None)
    requested_at = frozenset(position for position, sent in states.values() if not sent)
    after = min(requested_at, default=head + 1) - 1
    return Unfinished(head, after, [act_id for act_id, (_, sent) in states.items() if sent], requested_at)


def id_of(raw: bytes) -> str | None:
    """Return the id of an act's event; None for an event without one."""
    try:
        return msgspec.json.decode(raw, type=Named).id
    except msgspec.ValidationError:
        return None
