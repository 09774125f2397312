"""Folds a part of the log once more, in memory, until it gives the rows that are served: so it is known what made them.

A fold that starts at the beginning is right by definition, and may take long. One that starts later is right when it
comes to the same rows, ``tm_update`` included. So it is tried with little of the log first, and with more if need be.
"""

import asyncio
from collections.abc import Iterable, Mapping

from msgspec import Struct

from projections.engine.model import Key, ReadModel, Row
from projections.engine.subscriptions import event_names_of
from projections.engine.trace import Step, Trace, is_same_row
from services.database.pool import Pool
from services.log.archives import read_catalog
from services.log.read import recorded_event

MAX_POSITIONS = 10_000_000
"""So much of the log is read for one window, at most; what it would take more for is not explained."""
MAX_EVENTS = 500_000
"""And so many events are folded."""
STEP = 20_000
TURN = 500
"""Events folded before others have their turn: a few milliseconds."""

EVENTS = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = ANY($3::text[]) AND name = ANY($4::text[])
ORDER BY position
"""

Window = tuple[int, int]
"""Positions after the first and up to the second."""


class Explanation(Struct, frozen=True):
    """``steps`` made the rows in ``window``, of which ``folded`` events were folded.

    ``exact``: they come to the rows that are served. ``complete``: no window was left out for being too large.
    ``archived`` names the files of what stands before the window, where it begins at the edge.
    """

    window: Window
    steps: list[Step]
    event_count: int
    is_exact: bool
    is_complete: bool
    archive_files: str = ""


async def explain_rows(
    pool: Pool, model: ReadModel, rows: Mapping[Key, Row | None], windows: Iterable[Window]
) -> Explanation:
    """Fold one window after the other until the rows come out; if none brings them, return the last one folded."""
    best = Explanation((0, 0), [], 0, is_exact=False, is_complete=True)
    complete = True
    async with pool.acquire() as connection:
        archived = await read_catalog(connection)
    for window in dict.fromkeys((max(after, archived.position), upto) for after, upto in windows):
        trace = await _fold(pool, model, rows, window)
        if trace is None:
            complete = False
            continue
        exact = all(is_same_row(row, trace.rows.get(key)) for key, row in rows.items())
        best = Explanation(window, trace.steps, trace.folded, exact, complete)
        if exact:
            break
    files = archived.file_names if best.window[0] == archived.position else ""
    return Explanation(best.window, best.steps, best.event_count, best.is_exact, complete, files)


async def _fold(pool: Pool, model: ReadModel, rows: Mapping[Key, Row | None], window: Window) -> Trace | None:
    """Return None if the window is too large."""
    if window[1] - window[0] > MAX_POSITIONS:
        return None
    trace = Trace(model, frozenset(rows))
    pbxes, names = list({key[0] for key in rows}), list(event_names_of(model))
    for after in range(*window, STEP):
        got = await pool.fetch(EVENTS, after, min(after + STEP, window[1]), pbxes, names)
        if trace.folded + len(got) > MAX_EVENTS:
            return None
        for start in range(0, len(got), TURN):
            trace.fold([recorded_event(row) for row in got[start : start + TURN]])
            await asyncio.sleep(0)
    return trace
