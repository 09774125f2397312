"""What read models held at an instant: folded in memory from the nearest saved state, with the same functions."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import asyncpg
from msgspec import Struct

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.model import ReadModel
from projections.engine.state import State
from projections.engine.subscriptions import Subscriptions, subscriptions_of
from services.log.archives import ArchiveCatalog, ArchivedError, last_archived, read_catalog
from services.log.read import recorded_event
from services.log.times import to_microseconds
from services.projector import saved_states as saved
from services.projector.initial_state import InitialState, read_initial_state
from services.projector.table import Table
from services.replay.instants import Instant

WINDOW = 5_000
SLICE = 250
"""Events that are folded without a pause for who else wants the event loop: a few milliseconds."""

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event
WHERE position > $1 AND position <= $2 AND name = ANY($3::text[]) AND ($4::timestamptz IS NULL OR recorded <= $4)
ORDER BY position
"""

Progress = Callable[[int, int], None]
"""Is told how many of how many positions have been folded."""


class TooFarError(Exception):
    """There is no saved state near enough; the message says how much there would be to fold."""


class BrokenModelError(Exception):
    """A fold fails before the instant, as it does in the projector."""


class AsOfModel(Struct, frozen=True):
    """What one model held: its rows, and what it remembered; ``changed`` is the last event that changed a row."""

    table: Table
    rows: list[Any]
    state: State
    changed: int


class AsOfReader:
    """Folds models up to instants; one of it for a process, for it learns how events look."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.tables = {model.name: Table(model) for model in models}
        self._takers: dict[tuple[str, ...], Subscriptions] = {}

    async def read(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        max_events: int | None = None,
        on_progress: Progress = lambda _done, _total: None,
    ) -> dict[str, AsOfModel]:
        """Return what the models of these names held. Raises TooFarError if it is more than ``max_events`` events.

        Raises ArchivedError where the instant is before the start of the log, and NoInitialStateError without a state.
        """
        while True:
            held = await self._held(connection, names, instant, max_events, on_progress)
            if held is not None:
                return held

    async def _held(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        max_events: int | None,
        on_progress: Progress,
    ) -> dict[str, AsOfModel] | None:
        """Return None if what was to be folded has been archived meanwhile."""
        begun = await self._begin(connection, names, instant, max_events)
        # Models that begin at one position go together; mostly these are all.
        groups = [list(group) for _, group in groupby(begun, key=lambda b: b.position)]
        total = sum(_length(instant, group[0].position) for group in groups)
        done = 0
        for group in groups:
            taking = self._taking(tuple(b.table.model.name for b in group))
            for after, upto in _windows(instant, group[0].position):
                rows = await connection.fetch(READ, after, upto, list(taking), instant.until)
                await _fold([b.fold for b in group], rows, taking)
                done += upto - after
                on_progress(done, total)
        if await last_archived(connection) > min(b.position for b in begun):
            return None
        return {b.table.model.name: b.held() for b in begun}

    async def _begin(
        self, connection: asyncpg.Connection, names: Sequence[str], instant: Instant, max_events: int | None
    ) -> list["_Begun"]:
        begun = []
        # In one snapshot: a state that is found may be thinned out before its rows are read.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            archived = await read_catalog(connection)
            if archived.position > instant.spans[-1][1] or (
                instant.until is not None and archived.latest_recorded > to_microseconds(instant.until)
            ):
                raise ArchivedError(f"position {instant.position}", archived.archives[-1])
            for name in names:
                table = self.tables[name]
                start = await self._start(connection, table.model, instant, archived)
                if max_events is not None and (length := _length(instant, start.position)) > max_events:
                    raise TooFarError(f"{length:,} events would have to be folded for {name}, more than {max_events:,}")
                begun.append(_Begun(table, start))
        return sorted(begun, key=lambda b: b.position)

    @staticmethod
    async def _start(
        connection: asyncpg.Connection, model: ReadModel, instant: Instant, archived: ArchiveCatalog
    ) -> InitialState:
        start = await saved.nearest(connection, model, instant.spans[-1][1], instant.until)
        if start is None or start.position < archived.position:
            return await read_initial_state(connection, model)
        return InitialState(
            start.position, start.latest, start.changed, start.state, await saved.rows_of(connection, start)
        )

    def _taking(self, names: tuple[str, ...]) -> Subscriptions:
        if names not in self._takers:
            self._takers[names] = subscriptions_of([self.tables[name].model for name in names])
        return self._takers[names]


class _Begun:
    """One model on its way from where it was saved."""

    def __init__(self, table: Table, start: InitialState) -> None:
        self.table = table
        self.position = start.position
        self.fold = Fold(table.model, start.state)
        self.fold.load(list(start.rows), table.key_of)
        self._changed = start.changed

    def held(self) -> AsOfModel:
        return AsOfModel(self.table, list(self.fold.rows.values()), self.fold.state, self.fold.changed or self._changed)


def _rest(instant: Instant, begin: int) -> list[tuple[int, int]]:
    return [(max(after, begin), upto) for after, upto in instant.spans if upto > begin]


def _length(instant: Instant, begin: int) -> int:
    return sum(upto - after for after, upto in _rest(instant, begin))


def _windows(instant: Instant, begin: int) -> list[tuple[int, int]]:
    rest = _rest(instant, begin)
    return [(at, min(at + WINDOW, upto)) for after, upto in rest for at in range(after, upto, WINDOW)]


async def _fold(folds: list[Fold], rows: list[asyncpg.Record], taking: Subscriptions) -> None:
    for start in range(0, len(rows), SLICE):
        for row in rows[start : start + SLICE]:
            event = recorded_event(row)
            chosen, indexes = taking[event.name]
            decoded = DecodedEvent(event, chosen)
            for index in indexes:
                folds[index].take(decoded)
        for fold in folds:
            fold.run()
            fold.dirty.clear()
            if fold.error is not None:
                event, error = fold.error
                raise BrokenModelError(f"{fold.model.name} at position {event.position} ({event.name})") from error
        await asyncio.sleep(0)
