"""A log of two PBXes that spoke at the same time, one of which was spooled for a while: appended when it really was."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import asyncpg
from msgspec.structs import replace

from projections import ALL
from projections.engine.model import ReadModel
from schemas.log import NewEvent, RecordedEvent
from services.database.connection import connect
from services.log.append import append_events
from services.projector import saved_states as saved
from services.projector.projector import Projector
from tests.support.folding import FoldSpec
from tests.support.log_clock import set_clock
from tests.support.recorded_events import snapshotted

LATER = 299.0
"""The second recording was made five minutes before the first."""
SPOOLED = {"rich16": (60.0, 150.0), "rich22": (200.0, 212.0)}
"""From when until when (seconds after the beginning) PostgreSQL could not be reached."""
DELAY = 0.02

Event = tuple[RecordedEvent, datetime]
"""An event of the log, and when it was recorded."""

EVENTS = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded FROM ledger.event ORDER BY position
"""


@cache
def spoken() -> list[tuple[str, NewEvent]]:
    """Return the events of both, in order of time."""
    events_by_time = [("rich22", e) for e in snapshotted("rich22")]
    events_by_time += [("rich16", replace(e, recorded=e.recorded + LATER)) for e in snapshotted("rich16")]
    return sorted(events_by_time, key=lambda one: one[1].recorded)


def appends(dice: random.Random) -> Iterator[tuple[float, str, list[NewEvent]]]:
    """Yield what was appended when (seconds since the epoch), by which listener."""
    events_by_time = spoken()
    begin = events_by_time[0][1].recorded
    waiting: dict[str, list[NewEvent]] = {"rich22": [], "rich16": []}
    end, start = begin, 0
    while start < len(events_by_time):
        end += dice.choice((0.05, 0.3, 2.0))
        while start < len(events_by_time) and events_by_time[start][1].recorded <= end:
            waiting[events_by_time[start][0]].append(events_by_time[start][1])
            start += 1
        for pbx, events in waiting.items():
            since, until = SPOOLED[pbx]
            if not begin + since < end < begin + until or start == len(events_by_time):
                for first in range(0, len(events), 500):
                    yield end + DELAY, pbx, events[first : first + 500]
                events.clear()


async def append(url: str, seed: int = 22) -> None:
    """Write the log, by a clock that goes as it went."""
    connection = await asyncpg.connect(url)
    # The migration stored the true time, and `appended` never goes back.
    await connection.execute("UPDATE ledger.head SET appended = '-infinity'")
    done = {"rich22": 0, "rich16": 0}
    clock = datetime.min.replace(tzinfo=UTC)
    for at, pbx, events in appends(random.Random(seed)):
        # PostgreSQL's clock never shows one time to two appends, unless it was set back.
        clock = max(datetime.fromtimestamp(at, UTC), clock + timedelta(microseconds=1))
        await set_clock(connection, clock)
        await append_events(connection, pbx, 1, done[pbx] + 1, events)
        done[pbx] += len(events)
    await connection.close()


async def project(url: str, models: Sequence[ReadModel] = ALL, every: int = 997, seed: int = 16) -> None:
    """Fold the log with a projector that is restarted now and then, saving about every ``every`` positions."""
    connection = await connect(url, search_path="model, ledger")
    dice = random.Random(seed)
    before, saved.SAVE_INTERVAL = saved.SAVE_INTERVAL, every
    try:
        projector = Projector(connection, models)
        await projector.open()
        while await projector.advance(dice.randint(1, 900)):
            if dice.random() < 0.05:
                projector = Projector(connection, models)
                await projector.open()
        assert projector.stopped == {}
    finally:
        saved.SAVE_INTERVAL = before
        await connection.close()


async def events_of(url: str) -> list[Event]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(EVENTS)
    await connection.close()
    return [(RecordedEvent(*row), row[6]) for row in rows]


class Truth:
    """The result of a fold from the first event. It only moves forward."""

    def __init__(self, events: Sequence[Event], models: Sequence[ReadModel] = ALL) -> None:
        self.tables = FoldSpec(*models)
        self._left = list(events)

    def upto(self, position: int) -> FoldSpec:
        return self._take([one for one in self._left if one[0].position <= position])

    def by(self, at: datetime) -> FoldSpec:
        """Fold all events received by then. A listener keeps its PBX's order, and each row is of one PBX."""
        return self._take([one for one in self._left if one[1] <= at])

    def _take(self, counted: list[Event]) -> FoldSpec:
        positions = {event.position for event, _ in counted}
        self._left = [one for one in self._left if one[0].position not in positions]
        return self.tables.given([event for event, _ in counted])


def moments(events: Sequence[Event], number: int, seed: int) -> list[datetime]:
    """Return random times: of an event, just before one, and between."""
    dice = random.Random(seed)
    first, last = min(at for _, at in events), max(at for _, at in events)
    drawn = [first, last, last + timedelta(seconds=5)]
    while len(drawn) < number:
        _, at = dice.choice(events)
        between = first + (last - first) * dice.random()
        drawn.append(dice.choice((at, max(at - timedelta(microseconds=1), first), between)))
    return sorted(drawn)
