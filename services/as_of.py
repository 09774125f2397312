"""What read models held at an instant: folded in memory from the nearest saved state, with the same functions."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import asyncpg
from msgspec import Struct

from projections.kit import Decoded, Fold, Model, Row, State, Takers, takers
from services import saved
from services.instants import Instant
from services.log import recorded
from services.saved import Saved
from services.tables import Table

WINDOW = 5_000
SLICE = 250
"""Events that are folded without a pause for who else wants the event loop: a few milliseconds."""

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw
FROM ledger.event
WHERE position > $1 AND position <= $2 AND name = ANY($3::text[]) AND ($4::timestamptz IS NULL OR recorded <= $4)
ORDER BY position
"""

Show = Callable[[int, int], None]
"""Is told how many of how many positions have been folded."""


class TooFarError(Exception):
    """There is no saved state near enough; the message says how much there would be to fold."""


class BrokenModelError(Exception):
    """A fold fails before the instant, as it does in the projector."""


class Held(Struct, frozen=True):
    """What one model held: its rows, and what it remembered; ``changed`` is the last event that changed a row."""

    table: Table
    rows: list[Any]
    state: State
    changed: int


class AsOf:
    """Folds models up to instants; one of it for a process, for it learns how events look."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.tables = {model.name: Table(model) for model in models}
        self._takers: dict[tuple[str, ...], Takers] = {}

    async def held(
        self,
        connection: asyncpg.Connection,
        names: Sequence[str],
        instant: Instant,
        farthest: int | None = None,
        show: Show = lambda _done, _total: None,
    ) -> dict[str, Held]:
        """Return what the models of these names held. Raises TooFarError if it is more than ``farthest`` events."""
        begun = await self._begin(connection, names, instant, farthest)
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
                show(done, total)
        return {b.table.model.name: b.held() for b in begun}

    async def _begin(
        self, connection: asyncpg.Connection, names: Sequence[str], instant: Instant, farthest: int | None
    ) -> list["_Begun"]:
        begun = []
        # In one snapshot: a state that is found may be thinned out before its rows are read.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for name in names:
                table = self.tables[name]
                start = await saved.nearest(connection, table.model, instant.spans[-1][1], instant.until)
                position = start.position if start else 0
                if position < instant.first - 1:
                    raise TooFarError(f"{name} has no saved state where the log begins, at position {instant.first}")
                if farthest is not None and (length := _length(instant, position)) > farthest:
                    raise TooFarError(f"{length:,} events would have to be folded for {name}, more than {farthest:,}")
                begun.append(_Begun(table, start, await saved.rows_of(connection, start) if start else []))
        return sorted(begun, key=lambda b: b.position)

    def _taking(self, names: tuple[str, ...]) -> Takers:
        if names not in self._takers:
            self._takers[names] = takers([self.tables[name].model for name in names])
        return self._takers[names]


class _Begun:
    """One model on its way from where it was saved."""

    def __init__(self, table: Table, start: Saved | None, rows: list[Row]) -> None:
        self.table = table
        self.position = start.position if start else 0
        self.fold = Fold(table.model, start.state if start else State())
        self.fold.load(rows, table.key_of)
        self._changed = start.changed if start else 0

    def held(self) -> Held:
        return Held(self.table, list(self.fold.rows.values()), self.fold.state, self.fold.changed or self._changed)


def _rest(instant: Instant, begin: int) -> list[tuple[int, int]]:
    return [(max(after, begin), upto) for after, upto in instant.spans if upto > begin]


def _length(instant: Instant, begin: int) -> int:
    return sum(upto - after for after, upto in _rest(instant, begin))


def _windows(instant: Instant, begin: int) -> list[tuple[int, int]]:
    rest = _rest(instant, begin)
    return [(at, min(at + WINDOW, upto)) for after, upto in rest for at in range(after, upto, WINDOW)]


async def _fold(folds: list[Fold], rows: list[asyncpg.Record], taking: Takers) -> None:
    for start in range(0, len(rows), SLICE):
        for row in rows[start : start + SLICE]:
            event = recorded(row)
            chosen, indexes = taking[event.name]
            decoded = Decoded(event, chosen)
            for index in indexes:
                folds[index].take(decoded)
        for fold in folds:
            fold.run()
            fold.dirty.clear()
            if fold.error is not None:
                event, error = fold.error
                raise BrokenModelError(f"{fold.model.name} at position {event.position} ({event.name})") from error
        await asyncio.sleep(0)
