"""``ringledger as-of`` and ``ringledger diff``: a model's rows at an instant, and the differences between two."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from msgspec import Struct

from projections import ALL
from services.database.connection import connect
from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.log.archives import ArchivedError
from services.log.bounds import UnknownPbxError, require_pbx
from services.projector.initial_state import NoInitialStateError
from services.projector.table import Table
from services.replay import instants
from services.replay.as_of import AsOfReader, BrokenModelError, TooFarError
from services.replay.instants import Instant, InvalidInstantError
from services.runtime.progress import ProgressBar


class HistoryError(Exception):
    """The rows cannot be returned; ``code`` is the program's exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class HistoryQuery(Struct, frozen=True):
    """A model, the instants (as text), and optionally the PBX of its rows."""

    instants: tuple[str, ...]
    model: str
    pbx: str | None = None


class RowsAsOf(Struct, frozen=True):
    """A model's rows at an instant, in the order of their keys."""

    instant: Instant
    table: Table
    rows: list[Any]


class RowChanges(Struct, frozen=True):
    """Rows that were added, removed or changed (before, after) between two instants."""

    added: list[Any]
    removed: list[Any]
    changed: list[tuple[Any, Any]]


async def query_history(url: str, query: HistoryQuery) -> list[RowsAsOf]:
    """Return the rows for each instant of the query. Raises HistoryError."""
    positions_or_times = _parse(query)
    with _history_errors():
        connection = await connect(url)
        try:
            if query.pbx is not None:
                await require_pbx(connection, query.pbx)
            resolved = [await instants.find(connection, one) for one in positions_or_times]
            return [await _rows_as_of(connection, query, instant) for instant in resolved]
        finally:
            connection.terminate()


async def _rows_as_of(connection: asyncpg.Connection, query: HistoryQuery, instant: Instant) -> RowsAsOf:
    with ProgressBar("folding") as bar:
        models = await AsOfReader(ALL).read(connection, [query.model], instant, on_progress=bar.show)
    model = models[query.model]
    rows = [row for row in model.rows if query.pbx in {None, row.pbx}]
    return RowsAsOf(instant, model.table, sorted(rows, key=model.table.key_of))


def _parse(query: HistoryQuery) -> list[int] | list[Any]:
    names = [model.name for model in ALL]
    if query.model not in names:
        raise HistoryError(f"not found: model {query.model!r}; the models are {', '.join(names)}")
    try:
        return [instants.parse(text) for text in query.instants]
    except InvalidInstantError as error:
        raise HistoryError(str(error)) from None


@contextmanager
def _history_errors() -> Iterator[None]:
    try:
        yield
    except (InvalidInstantError, ArchivedError, NoInitialStateError, UnknownPbxError) as error:
        raise HistoryError(str(error)) from None
    except NO_LEDGER as error:
        raise HistoryError(f"{NO_LEDGER_MESSAGE}: {error}") from None
    except TooFarError as error:
        raise HistoryError(str(error), 1) from None
    except BrokenModelError as error:
        raise HistoryError(f"read model {error} cannot be folded: {error.__cause__!r}", 1) from None
    except UNREACHABLE as error:
        raise HistoryError(explain(error), 1) from None


def compare(before: RowsAsOf, after: RowsAsOf) -> RowChanges:
    """Return the changes between two results; a change of ``tm_update`` alone does not count."""
    key_of = before.table.key_of
    old, new = ({key_of(row): row for row in result.rows} for result in (before, after))
    both = [(old[key], new[key]) for key in old if key in new]
    return RowChanges(
        [row for key, row in new.items() if key not in old],
        [row for key, row in old.items() if key not in new],
        [(a, b) for a, b in both if changed_columns(a, b, before.table.columns)],
    )


def changed_columns(before: Any, after: Any, columns: Sequence[str] | dict[str, str]) -> list[str]:
    """Return the columns that differ, without ``tm_update``."""
    return [c for c in columns if c != "tm_update" and getattr(before, c) != getattr(after, c)]
