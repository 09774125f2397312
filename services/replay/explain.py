"""Explains rows: folds a window of the log in memory until it yields the served rows, and keeps the steps.

A fold from the start of the log is correct by definition, but may take long. A fold that starts later is correct if it
yields the same rows, ``tm_update`` included. So the search tries short windows first and longer ones if necessary.

The fold of a model with a machine depends on the open rows and the settings before its window. It starts at the last
saved state up to there.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import asyncpg
from msgspec import Struct

from projections.engine.model import Key, ReadModel, Row
from projections.engine.state import FoldState
from projections.engine.subscriptions import event_names_of
from projections.engine.trace import Step, Trace, is_same_row
from services.database.pool import Pool
from services.log.archives import read_catalog
from services.log.read import recorded_event
from services.projector import saved_states as saved

MAX_POSITIONS = 10_000_000
"""The longest window that is read; a longer one is skipped."""
MAX_EVENTS = 500_000
"""The most events of one window that are folded."""
READ_POSITIONS = 20_000
SLICE_EVENTS = 500
"""Events folded between two turns of the event loop: a few milliseconds."""

EVENTS = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event
WHERE position > $1 AND position <= $2 AND (pbx = ANY($3::text[]) OR pbx = '') AND name = ANY($4::text[])
ORDER BY position
"""
"""Events of no PBX, such as settings, concern all of them."""

Replayable: TypeAlias = Pool | asyncpg.Pool
Window = tuple[int, int]
"""Positions after the first (exclusive) until the second (inclusive)."""


class Explanation(Struct, frozen=True):
    """The ``steps`` that a fold of the ``event_count`` events in ``window`` made.

    ``is_exact``: they yield the served rows. ``is_complete``: no window was skipped for its length.
    ``archive_files`` names the files of the events before the window, where it starts at the start of the log.
    """

    window: Window
    steps: list[Step]
    event_count: int
    is_exact: bool
    is_complete: bool
    archive_files: str = ""


async def explain_rows(
    pool: Replayable, model: ReadModel, rows: Mapping[Key, Row | None], windows: Iterable[Window]
) -> Explanation:
    """Fold one window after the other until one yields the rows; if none does, return the last one folded."""
    best = Explanation((0, 0), [], 0, is_exact=False, is_complete=True)
    is_complete = True
    async with pool.acquire() as connection:
        archives = await read_catalog(connection)
    pbxes = list({key[0] for key in rows})
    for after, until in dict.fromkeys((max(after, archives.position), until) for after, until in windows):
        start = after, FoldState(), list[Any]()
        if model.machine is not None:
            start = await _saved_state(pool, model, after, archives.position, pbxes)
        window = start[0], until
        trace = Trace(model, frozenset(rows), *start[1:])
        if not await _fold(pool, trace, pbxes, window):
            is_complete = False
            continue
        is_exact = all(is_same_row(row, trace.rows.get(key)) for key, row in rows.items())
        best = Explanation(window, trace.steps, trace.folded, is_exact, is_complete)
        if is_exact:
            break
    files = archives.file_names if best.window[0] == archives.position else ""
    return Explanation(best.window, best.steps, best.event_count, best.is_exact, is_complete, files)


async def _saved_state(
    pool: Replayable, model: ReadModel, after: int, archived: int, pbxes: list[str]
) -> tuple[int, FoldState, list[Any]]:
    """Return the last saved state of a machine up to a position, with the open rows of these PBXes."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        state = await saved.nearest(connection, model, after, lacks_ended=True)
        if state is None or state.position < archived:
            return archived, FoldState(), []
        rows = await saved.rows_of(connection, state)
    open_rows = [row for row in rows if row.pbx in pbxes and getattr(row, model.end_column) is None]
    return state.position, state.state, open_rows


async def _fold(pool: Replayable, trace: Trace, pbxes: list[str], window: Window) -> bool:
    """Fold the events of a window; return False if it is too long."""
    if window[1] - window[0] > MAX_POSITIONS:
        return False
    names = list(event_names_of(trace.model))
    for after in range(*window, READ_POSITIONS):
        events = await pool.fetch(EVENTS, after, min(after + READ_POSITIONS, window[1]), pbxes, names)
        if trace.folded + len(events) > MAX_EVENTS:
            return False
        for start in range(0, len(events), SLICE_EVENTS):
            trace.fold([recorded_event(row) for row in events[start : start + SLICE_EVENTS]])
            await asyncio.sleep(0)
    return True
