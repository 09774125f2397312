"""Every read-model table = a fold of the log from its first event, made here in memory without the projector."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import Key, ReadModel, Row
from schemas.log import RecordedEvent
from services.log.read import head_position
from services.projector.table import Table
from tests.chaos.wire import DifferenceError, raise_all
from tests.support.folding import FoldSpec

BATCH = 20_000

CHECKPOINTS = "SELECT model, version, position, error, state FROM ledger.checkpoint WHERE place = 'model'"
LOG = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded FROM ledger.event
WHERE position > $1 AND position <= $2 ORDER BY position
"""
UNFIT = "SELECT position, name, error FROM ledger.unfit WHERE model = ANY($1::text[])"


class Folded(Struct):
    """The compared events, and rows by table."""

    events: int
    rows: dict[str, int]
    unfit: int


async def compare(
    connection: asyncpg.Connection, models: Sequence[ReadModel], at_least: int, show: Callable[[int, int], None]
) -> Folded:
    """Hold the tables against the log. Raises DifferenceError.

    All models must be there, running, at one position that is ``at_least`` a given one. One snapshot of the database is
    read, so the projector may run on. ``show`` is called with the events folded so far and their number.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        states = {row["model"]: row for row in await connection.fetch(CHECKPOINTS)}
        position = _position(states, models, at_least, await head_position(connection))
        tables = FoldSpec(*models)
        differences: list[str] = []
        for after in range(0, position, BATCH):
            upto = min(after + BATCH, position)
            batch = [RecordedEvent(*row) for row in await connection.fetch(LOG, after, upto)]
            differences += _missing(after, upto, batch)
            tables.given(batch)
            show(upto, position)
        rows = {}
        for model in models:
            table = Table(model, "model")
            served = table.rows(await connection.fetch(f"SELECT {', '.join(table.columns)} FROM {table.name}"))
            differences += _unequal(model, tables.rows[model.name], {table.key_of(row): row for row in served})
            for one in table.derived:
                served = one.rows(await connection.fetch(f"SELECT {', '.join(one.columns)} FROM {one.name}"))
                if {one.key_of(row): row for row in served} != tables.derived[one.bare_name]:
                    differences.append(f"table {one.bare_name} does not follow from the rows of {model.name}")
            state = msgspec.convert(states[model.name]["state"], type(tables.states[model.name]))
            if _as_json(state) != _as_json(tables.states[model.name]):
                differences.append(f"model {model.name} remembers other things than a fold of the log does")
            rows[model.name] = len(served)
        unfit = {tuple(row) for row in await connection.fetch(UNFIT, [model.name for model in models])}
    if one_sided := unfit ^ set(tables.rejected):
        differences.append(f"ledger.unfit: {min(one_sided)} is on one side only")
    raise_all(differences)
    return Folded(position, rows, len(unfit))


def _position(states: dict[str, Any], models: Iterable[ReadModel], at_least: int, head: int) -> int:
    positions: dict[str, int] = {}
    for model in models:
        state = states.get(model.name)
        if state is None or state["version"] != model.version:
            raise DifferenceError(f"model {model.name}: version {model.version} is not there")
        if state["error"] is not None:
            raise DifferenceError(f"model {model.name} has stopped: {state['error']}")
        positions[model.name] = state["position"]
    first, last = min(positions.values()), max(positions.values())
    if first != last or not at_least <= first <= head:
        raise DifferenceError(f"the models are at {first}..{last}, not together between {at_least} and {head}")
    return first


def _missing(after: int, upto: int, batch: list[RecordedEvent]) -> Iterator[str]:
    """Yield the positions that a batch of the log does not have."""
    position = after
    for event in batch:
        if event.position != position + 1:
            yield f"log positions {position + 1}..{event.position - 1} are not there"
        position = event.position
    if position != upto:
        yield f"log positions {position + 1}..{upto} are not there"


def _unequal(model: ReadModel, folded: dict[Key, Row], served: dict[Key, Row]) -> Iterator[str]:
    for key in sorted(folded.keys() | served.keys(), key=str):
        row = f"model {model.name}, row {key}"
        if key not in served:
            yield f"{row}: the fold has it, the table has not: {folded[key]}"
        elif key not in folded:
            yield f"{row}: the table has it, the fold has not: {served[key]}"
        else:
            for field in msgspec.structs.fields(model.row):
                ours, theirs = getattr(folded[key], field.name), getattr(served[key], field.name)
                if _as_json(ours) != _as_json(theirs):
                    yield f"{row}, column {field.name}: the fold has {ours!r}, the table {theirs!r}"


def _as_json(value: Any) -> bytes:
    # A table returns lists for tuples, and jsonb has its own order.
    return msgspec.json.encode(value, order="sorted")
