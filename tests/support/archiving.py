"""A log of several months for the tests of archives."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from msgspec.structs import replace

from projections import ALL
from projections.engine.model import ReadModel
from schemas.log import NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.projector import swap
from services.projector.projector import Projector
from services.retention import archive
from services.retention.archive_report import ArchiveResult
from tests.support.log_clock import set_clock
from tests.support.model_rows import rows
from tests.support.recorded_events import snapshotted

MONTHS = 4
"""March to June 2026, a recording cut into as many pieces."""
BATCH = 500


def month(number: int) -> datetime:
    """Return a time within a month; month 0 is March 2026."""
    return datetime(2026, 3 + number, 20, 12, tzinfo=UTC)


def pieces(size: int = 0, events: Sequence[NewEvent] = ()) -> list[list[NewEvent]]:
    """Return events (or the first ``size`` of a recording) in `MONTHS` parts, each received in its month."""
    events = events or snapshotted("rich22")[: size or None]
    length = len(events) // MONTHS + 1
    cut = [events[start : start + length] for start in range(0, len(events), length)]
    return [
        [_later(e, month(number).timestamp() - piece[0].recorded) for e in piece] for number, piece in enumerate(cut)
    ]


def _later(event: NewEvent, seconds: float) -> NewEvent:
    occurred = None if event.occurred is None else event.occurred + seconds
    return replace(event, occurred=occurred, recorded=event.recorded + seconds)


async def append_months(url: str, size: int = 0, events: Sequence[NewEvent] = ()) -> list[int]:
    """Append the log, each event when it was received; return the last position of each month."""
    connection = await connect(url)
    # The migration stored the true time, and `appended` never goes back.
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")
    ends, done = [], 0
    for piece in pieces(size, events):
        for start in range(0, len(piece), BATCH):
            events = piece[start : start + BATCH]
            await set_clock(connection, datetime.fromtimestamp(events[-1].recorded + 0.02, UTC))
            await append_events(connection, "pbx", 1, done + 1, events)
            done += len(events)
        ends.append(done)
    await connection.close()
    return ends


async def run_archive(url: str, folder: Path, before: str, *, drop: bool = False) -> ArchiveResult:
    return await archive.archive(url, archive.parse_month(before), folder, drop=drop)


async def open_projector(url: str, models: Sequence[ReadModel] = ALL) -> Projector:
    projector = Projector(await connect(url, search_path="model, ledger"), models)
    await projector.open()
    return projector


async def fold(url: str, models: Sequence[ReadModel] = ALL) -> Projector:
    """Fold all of the log."""
    projector = await open_projector(url, models)
    while await projector.advance():
        pass
    await projector._connection.close()
    return projector


async def model_state(url: str) -> dict[str, Any]:
    """Return every row of every read model, and the state of its fold."""
    connection = await connect(url)
    state: dict[str, Any] = {**await rows(connection)}
    state["states"] = await connection.fetch(
        "SELECT model, position, state FROM ledger.checkpoint WHERE place = 'model' ORDER BY model"
    )
    await connection.close()
    return state


async def drop_models(url: str) -> None:
    """Delete all read models, so that the database is like a new one."""
    connection = await asyncpg.connect(url)
    for model in ALL:
        await swap.drop(connection, model.name, "model")
        await swap.drop(connection, model.name, "rebuild")
    await connection.execute("DELETE FROM ledger.checkpoint; DELETE FROM ledger.unfit")
    await connection.close()
