"""Explains a call: the events of its row and of the rows that became part of it, and the positions of its items."""

import asyncio
from typing import Any

import asyncpg
from msgspec import Struct

from projections.calls.call_rows import CallRow
from projections.calls.calls import CALLS
from projections.calls.story.positions import CallPositions
from projections.engine.trace import Step
from services.projector.checkpoints.checkpoints import read
from services.projector.table import Table
from services.replay.explain import Explanation, Replayable, explain_rows

# The batch with the last event of the call; a PBX's clock may be wrong, so the end of the log is the second choice.
UNTIL = """
SELECT coalesce((SELECT last FROM ledger.batch WHERE appended < $1::timestamptz + interval '10 seconds'
                 ORDER BY appended DESC, first DESC LIMIT 1), 0)
"""
KEY = "SELECT pbx, linkedid FROM call_ids WHERE pbx = $1 AND id = $2 ORDER BY number DESC LIMIT 1"

Positions = dict[str, list[list[int]]]
"""The log positions behind each item of a call, by list; the lists are parallel to those of its object."""


class CallExplanation(Struct, frozen=True):
    """The ``steps`` of a call, one an event, and the ``positions`` behind each item of its lists."""

    folded: Explanation
    steps: list[Step]
    positions: Positions


async def explain_call(pool: Replayable, row: CallRow, position: int) -> CallExplanation:
    """Fold the part of the log that made the row of a call, which has folded the log up to ``position``.

    An event of a younger call that became part of this one is an event of this one.
    """
    async with pool.acquire() as connection:
        until = min(max(await connection.fetchval(UNTIL, row.tm_update), row.number), position)
    key = (row.pbx, row.linkedid)
    rows: dict[Any, CallRow | None] = {(row.pbx, alias): None for alias in row.aliases} | {key: row}
    before = row.number - 1
    folded = await explain_rows(pool, CALLS, rows, [(before, until), (before, position), (0, position)])
    by_position: dict[int, Step] = {}
    positions = CallPositions()
    for step in folded.steps:
        positions.add(step)
        await asyncio.sleep(0)
        # An event that changes both rows, as a merge does, is a change of the call.
        if step.event.position not in by_position or step.key == key:
            by_position[step.event.position] = step
    return CallExplanation(folded, list(by_position.values()), positions.of(row))


async def fetch_positions(pool: asyncpg.Pool, pbx: str, linkedid: str) -> tuple[CallRow, Positions | None]:
    """Return the row of a call and the positions of its items, None if its events are archived or too many."""
    table = Table(CALLS)
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        # The call may have become part of an older one since the caller read its linked id.
        keys = [tuple(record) for record in await connection.fetch(KEY, pbx, linkedid)]
        (row,) = table.rows(await connection.fetch(table.select, *table.key_arrays(keys)))
        position = (await read(connection)).models[CALLS.name].position
    explained = await explain_call(pool, row, position)
    return row, explained.positions if explained.folded.is_exact else None
