"""Read models as of an instant: folded in memory from the nearest saved state, with the projector's own functions."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import asyncpg
from msgspec import Struct

from projections.engine.decoding import DecodedEvent
from projections.engine.derived import rows_of
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import ReadModel
from projections.engine.state import FoldState
from projections.engine.subscriptions import Subscriptions, subscriptions_of
from services.log.archives import ArchiveCatalog, ArchivedError, last_archived, read_catalog
from services.log.read import recorded_event
from services.log.times import to_microseconds
from services.projector import saved_states as saved
from services.projector.ended_rows import is_served, load_ended
from services.projector.initial_state import InitialState, read_initial_state
from services.projector.table import Table
from services.replay.instants import Instant, length_after, windows_after

WINDOW_POSITIONS = 5_000
SLICE_EVENTS = 250
"""Events folded between two turns of the event loop: a few milliseconds."""

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event
WHERE position > $1 AND position <= $2 AND name = ANY($3::text[]) AND ($4::timestamptz IS NULL OR recorded <= $4)
ORDER BY position
"""

Progress = Callable[[int, int], None]
"""Receives the number of positions folded so far, and their total."""


class TooFarError(Exception):
    """No saved state is near enough; the message gives the number of events to fold."""


class BrokenModelError(Exception):
    """A fold fails before the instant, as it does in the projector; the message names the model and the event."""


class AsOfModel(Struct, frozen=True):
    """One model as of an instant: its rows, its state, and the position of the last event that changed a row."""

    table: Table
    rows: list[Any]
    state: FoldState
    changed: int

    def derived_rows(self, name: str) -> list[Any]:
        """Return the rows of a table that follows from the model's."""
        return next(rows_of(derived, self.rows) for derived in self.table.model.derived if derived.name == name)


class AsOfReader:
    """Folds models up to instants. A process needs one: it caches which headers each set of models reads."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.tables = {model.name: Table(model) for model in models}
        self._subscriptions: dict[tuple[str, ...], Subscriptions] = {}

    async def read(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        max_events: int | None = None,
        on_progress: Progress = lambda _done, _total: None,
        *,
        lacks_ended: bool = False,
    ) -> dict[str, AsOfModel]:
        """Return the models of these names as of the instant.

        With ``lacks_ended`` the models with a machine have their open rows, and only some of the ended ones.

        Raises TooFarError if a model requires folding more than ``max_events`` events. Raises ArchivedError for an
        archived instant, NoInitialStateError for a model without a state to start from, and BrokenModelError.
        """
        while True:
            models = await self._read(connection, names, instant, max_events, on_progress, lacks_ended=lacks_ended)
            if models is not None:
                return models

    async def _read(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        max_events: int | None,
        on_progress: Progress,
        *,
        lacks_ended: bool,
    ) -> dict[str, AsOfModel] | None:
        """Return None if some of the events were archived during the fold."""
        starts = await self._start(connection, names, instant, max_events, lacks_ended)
        # Models that start at one position are folded together; mostly these are all.
        groups = [list(group) for _, group in groupby(starts, key=lambda start: start.position)]
        total = sum(length_after(instant, group[0].position) for group in groups)
        done = 0
        for group in groups:
            subscriptions = self._subscriptions_of(tuple(start.table.model.name for start in group))
            for after, until in windows_after(instant, group[0].position, WINDOW_POSITIONS):
                rows = await connection.fetch(READ, after, until, list(subscriptions), instant.until)
                await _fold(connection, group, rows, subscriptions)
                done += until - after
                on_progress(done, total)
        if await last_archived(connection) > min(start.position for start in starts):
            return None
        return {start.table.model.name: start.result() for start in starts}

    async def _start(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        max_events: int | None,
        lacks_ended: bool = False,  # noqa: FBT001, FBT002 (a subclass passes all arguments on)
    ) -> list["_ModelFold"]:
        folds = []
        # One snapshot: a state may be deleted between its selection and the reading of its rows.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            archives = await read_catalog(connection)
            if archives.position > instant.spans[-1][1] or (
                instant.until is not None and archives.latest_recorded > to_microseconds(instant.until)
            ):
                raise ArchivedError(f"position {instant.position}", archives.archives[-1])
            for name in names:
                table = self.tables[name]
                looks_up = lacks_ended and table.model.machine is not None
                start = await self._initial_state(connection, table.model, instant, archives, lacks_ended=looks_up)
                if max_events is not None and (length := length_after(instant, start.position)) > max_events:
                    raise TooFarError(f"{name} requires folding {length:,} events; the limit is {max_events:,}")
                folds.append(_ModelFold(table, start, lacks_ended=looks_up))
        return sorted(folds, key=lambda fold: fold.position)

    @staticmethod
    async def _initial_state(
        connection: asyncpg.Connection,
        model: ReadModel,
        instant: Instant,
        archives: ArchiveCatalog,
        *,
        lacks_ended: bool,
    ) -> InitialState:
        until = instant.spans[-1][1]
        state = await saved.nearest(connection, model, until, instant.until, lacks_ended=lacks_ended)
        if state is None or state.position < archives.position:
            return await read_initial_state(connection, model)
        rows = await saved.rows_of(connection, state)
        return InitialState(state.position, state.latest, state.changed, state.state, rows)

    def _subscriptions_of(self, names: tuple[str, ...]) -> Subscriptions:
        if names not in self._subscriptions:
            self._subscriptions[names] = subscriptions_of([self.tables[name].model for name in names])
        return self._subscriptions[names]


class _ModelFold:
    """The fold of one model, from its initial state on."""

    def __init__(self, table: Table, start: InitialState, *, lacks_ended: bool = False) -> None:
        self.table = table
        self.position = start.position
        self.fold = new_fold(table.model, start.state)
        if isinstance(self.fold, MachineFold):
            self.fold.lacks_ended = lacks_ended
        self.fold.load(list(start.rows), table.key_of)
        self._changed = start.changed

    def result(self) -> AsOfModel:
        return AsOfModel(self.table, list(self.fold.rows.values()), self.fold.state, self.fold.changed or self._changed)


async def _fold(
    connection: asyncpg.Connection, group: list[_ModelFold], rows: list[asyncpg.Record], subscriptions: Subscriptions
) -> None:
    folds = [one.fold for one in group]
    for start in range(0, len(rows), SLICE_EVENTS):
        for row in rows[start : start + SLICE_EVENTS]:
            event = recorded_event(row)
            headers, indexes = subscriptions[event.name]
            decoded = DecodedEvent(event, headers)
            for index in indexes:
                folds[index].apply(decoded)
        for one in group:
            fold = one.fold
            if isinstance(fold, MachineFold) and fold.lacks_ended and await is_served(connection.fetch, one.table):
                await load_ended(connection.fetch, one.table, fold, rows[start][0])
            fold.run()
            fold.dirty.clear()
            fold.before.clear()
            if fold.error is not None:
                event, error = fold.error
                raise BrokenModelError(f"{fold.model.name} at position {event.position} ({event.name})") from error
        await asyncio.sleep(0)
