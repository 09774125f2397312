"""The acts on a PBX without an outcome: from the read model up to its checkpoint, from the log after that."""

import asyncpg
import msgspec
from msgspec import Struct, field

from services.database.connection import snapshot
from services.log.read import head_position

CHECKPOINT = """
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


class ActId(Struct):
    """The member that all events of acts have."""

    id: str


class PendingActs(Struct, frozen=True):
    """The pending acts at position ``head``; ``after`` is a position before the first of the ``requested`` ones.

    ``sent`` are the ids of acts that were sent, ``requested`` the positions of those that were not.
    """

    head: int
    after: int
    sent: list[str] = field(default_factory=list)
    requested: frozenset[int] = frozenset()


async def read_pending_acts(connection: asyncpg.Connection, pbx: str) -> PendingActs:
    """Return the acts without an outcome."""
    states: dict[str, tuple[int, bool]] = {}
    async with snapshot(connection):
        head = await head_position(connection)
        checkpoint = await connection.fetchval(CHECKPOINT) or 0
        if checkpoint:
            for act_id, requested, state in await connection.fetch(OPEN, pbx):
                states[act_id] = requested, state == "sent"
        async for position, name, raw in connection.cursor(TAIL, pbx, checkpoint):
            act_id = id_of(raw)
            if act_id is None:
                continue  # the executor logs it, and the read model records it as unfit
            if name == "ActRequested":
                states.setdefault(act_id, (position, False))
            elif name == "ActSent" and act_id in states:
                states[act_id] = states[act_id][0], True
            elif name != "ActSent":
                states.pop(act_id, None)
    requested_at = frozenset(position for position, is_sent in states.values() if not is_sent)
    after = min(requested_at, default=head + 1) - 1
    sent = [act_id for act_id, (_, is_sent) in states.items() if is_sent]
    return PendingActs(head, after, sent, requested_at)


def id_of(raw: bytes) -> str | None:
    """Return the id in an act's event, None for an event without one."""
    try:
        return msgspec.json.decode(raw, type=ActId).id
    except msgspec.ValidationError:
        return None
