"""What the tests of archives share: a log of several months, and what must be so before and after."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from msgspec.structs import replace

from projections import ALL
from projections.engine.model import Model
from schemas.log import Received
from services.database import connection as database
from services.log import append as log
from services.projector.projector import Projector
from services.retention import archive
from tests.support.harness import snapshotted
from tests.support.model_rows import rows
from tests.support.two_pbx_log import set_clock

MONTHS = 4
"""March to June 2026, a recording cut into as many pieces."""
BATCH = 500


def month(number: int) -> datetime:
    """Return a moment of a month, from 0."""
    return datetime(2026, 3 + number, 20, 12, tzinfo=UTC)


def pieces(size: int = 0) -> list[list[Received]]:
    """Return a recording (or its first events) in as many parts as there are months, each as heard in its month."""
    said = snapshotted("rich22")[: size or None]
    length = len(said) // MONTHS + 1
    cut = [said[start : start + length] for start in range(0, len(said), length)]
    return [
        [_later(e, month(number).timestamp() - piece[0].recorded) for e in piece] for number, piece in enumerate(cut)
    ]


def _later(event: Received, seconds: float) -> Received:
    occurred = None if event.occurred is None else event.occurred + seconds
    return replace(event, occurred=occurred, recorded=event.recorded + seconds)


async def appended(url: str, size: int = 0) -> list[int]:
    """Write such a log, each event when it was heard; return the last position of each month."""
    connection = await database.connect(url)
    # The migration has been told the true time, and appended never goes back.
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")
    ends, done = [], 0
    for piece in pieces(size):
        for start in range(0, len(piece), BATCH):
            events = piece[start : start + BATCH]
            await set_clock(connection, datetime.fromtimestamp(events[-1].recorded + 0.02, UTC))
            await log.append(connection, "pbx", 1, done + 1, events)
            done += len(events)
        ends.append(done)
    await connection.close()
    return ends


async def archived(url: str, folder: Path, before: str, *, drop: bool = False) -> archive.Archived:
    return await archive.archive(url, archive.month_of(before), folder, drop=drop)


async def opened(url: str, models: Sequence[Model] = ALL) -> Projector:
    projector = Projector(await database.connect(url, search_path="model, ledger"), models)
    await projector.open()
    return projector


async def fold(url: str, models: Sequence[Model] = ALL) -> Projector:
    """Fold all of the log."""
    projector = await opened(url, models)
    while await projector.advance():
        pass
    await projector._connection.close()
    return projector


async def tables(url: str) -> dict[str, Any]:
    """Return every row of every model, and what they remember."""
    connection = await database.connect(url)
    found: dict[str, Any] = {**await rows(connection)}
    found["states"] = await connection.fetch(
        "SELECT model, position, state FROM ledger.checkpoint WHERE place = 'model' ORDER BY model"
    )
    await connection.close()
    return found


async def forget_models(url: str) -> None:
    """Leave a database without read models, as a new one is."""
    connection = await asyncpg.connect(url)
    for model in ALL:
        await connection.execute(f"DROP TABLE IF EXISTS model.{model.name}, rebuild.{model.name}")
    await connection.execute("DELETE FROM ledger.checkpoint; DELETE FROM ledger.unfit")
    await connection.close()
