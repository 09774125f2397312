"""``ringledger as-of`` and ``ringledger diff``: a model's rows at an instant, and what differs between two of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from msgspec import Struct

from projections import ALL
from services.database import connection as database
from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.log.archives import ArchivedError
from services.log.bounds import pbx_names
from services.projector.initial_state import NoInitialStateError
from services.projector.table import Table
from services.replay import instants
from services.replay.as_of import AsOfReader, BrokenModelError, TooFarError
from services.replay.instants import Instant, InvalidInstantError
from services.runtime.progress import Bar


class HistoryError(Exception):
    """The question cannot be answered; ``code`` is the program's exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Question(Struct, frozen=True):
    """What is asked: which model's rows, of one PBX or all, at which instants (as they were written)."""

    texts: tuple[str, ...]
    model: str
    pbx: str | None = None


class Found(Struct, frozen=True):
    """A model's rows at an instant, in the order of their keys."""

    instant: Instant
    table: Table
    rows: list[Any]


class Differences(Struct, frozen=True):
    """Rows that came, went, or changed (before, after) between two instants."""

    came: list[Any]
    went: list[Any]
    changed: list[tuple[Any, Any]]


async def found(url: str, question: Question) -> list[Found]:
    """Answer for each instant. Raises HistoryError."""
    asked = _checked(question)
    with _explained():
        connection = await database.connect(url)
        try:
            known = await pbx_names(connection)
            if question.pbx is not None and question.pbx not in known:
                others = f" (but {', '.join(known)})" if known else ""
                raise HistoryError(f"the log holds no PBX {question.pbx!r}{others}")
            where = [await instants.find(connection, one) for one in asked]
            return [await _found(connection, question, instant) for instant in where]
        finally:
            connection.terminate()


async def _found(connection: asyncpg.Connection, question: Question, instant: Instant) -> Found:
    with Bar("folding") as bar:
        held = await AsOfReader(ALL).read(connection, [question.model], instant, on_progress=bar.show)
    one = held[question.model]
    rows = [row for row in one.rows if question.pbx in {None, row.pbx}]
    return Found(instant, one.table, sorted(rows, key=one.table.key_of))


def _checked(question: Question) -> list[Any]:
    names = [model.name for model in ALL]
    if question.model not in names:
        raise HistoryError(f"no model {question.model!r}; the models are {', '.join(names)}")
    try:
        return [instants.parse(text) for text in question.texts]
    except InvalidInstantError as error:
        raise HistoryError(str(error)) from None


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (InvalidInstantError, ArchivedError, NoInitialStateError) as error:
        raise HistoryError(str(error)) from None
    except NO_LEDGER as error:
        raise HistoryError(f"{NO_LEDGER_MESSAGE}: {error}") from None
    except TooFarError as error:
        raise HistoryError(str(error), 1) from None
    except BrokenModelError as error:
        raise HistoryError(f"read model {error} cannot be folded: {error.__cause__!r}", 1) from None
    except UNREACHABLE as error:
        raise HistoryError(explain(error), 1) from None


def differences(before: Found, after: Found) -> Differences:
    """Compare two answers; ``tm_update`` alone is no change."""
    key_of = before.table.key_of
    old, new = ({key_of(row): row for row in found.rows} for found in (before, after))
    both = [(old[key], new[key]) for key in old if key in new]
    return Differences(
        [row for key, row in new.items() if key not in old],
        [row for key, row in old.items() if key not in new],
        [(a, b) for a, b in both if changes(a, b, before.table.columns)],
    )


def changes(before: Any, after: Any, columns: Sequence[str] | dict[str, str]) -> list[str]:
    """Return the columns that differ."""
    return [c for c in columns if c != "tm_update" and getattr(before, c) != getattr(after, c)]
