"""?model=<name>&key=<JSON list>: the events that made a row of a read model what it is.

The model is folded again over the part of the log in which the row was last changed, and over more and more of what
is before it, until the row comes out as it is served.
"""

import typing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from api.app_keys import POOL
from api.http.errors import ApiError
from api.http.query import MAX_POSITION, QueryParams
from api.ledger.events import answer
from api.ledger.explain import wire
from api.ledger.search import BOUNDS
from projections import ALL
from projections.engine.model import Key, Model, Row
from services.projector.checkpoints import UnreadyError, read
from services.projector.table import Table
from services.replay.explain import Window, explain_rows
from services.runtime.masking.json import masked_json

LIMIT = 1_000
MAX_LIMIT = 10_000
MODELS = {model.name: (model, Table(model)) for model in ALL}
EARLIER = (0, 10_000, 100_000, 1_000_000)
"""How many positions before the row's last change its story may begin."""
KNOWN = "SELECT pbx FROM ledger.connection GROUP BY pbx ORDER BY pbx"


async def explain(request: web.Request) -> web.Response:
    asked = QueryParams(request, "model", "key", "pbx", "cursor", "limit")
    model, table = MODELS[str(asked.word("model", *MODELS))]
    key = _key(model, asked.text("key"))
    pbx, cursor, limit = asked.text("pbx"), asked.position("cursor") or 0, asked.number("limit", LIMIT, MAX_LIMIT)
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        reading = await read(connection)
        checkpoint = reading.models.get(model.name)
        if checkpoint is None or checkpoint.version != model.version:
            raise UnreadyError(f"read model {model.name} is being built")
        pbxes = [pbx] if pbx is not None else [row[0] for row in await connection.fetch(KNOWN)]
        keys: list[Key] = [(one, *key) for one in pbxes]
        rows: list[Any] = table.rows(await connection.fetch(table.select, *table.key_arrays(keys)))
        if not rows:
            raise ApiError(404, f"no such row in {model.name}")
        if len(rows) > 1:
            raise ApiError(400, f"pbx: which? {', '.join(sorted(row.pbx for row in rows))}")
        row = rows[0]
        windows = await _windows(connection, row, checkpoint.position)
    full = (row.pbx, *key)
    found = await explain_rows(request.app[POOL], model, {full: row}, windows)
    # What stood there before it was gone the last time is another row's history.
    begun = max((i for i, step in enumerate(found.steps) if step.before is None), default=0)
    steps = [step for step in found.steps[begun:] if step.event.position > cursor]
    body = {
        "model": model.name,
        "pbx": row.pbx,
        "key": key,
        "row": _row(row),
        "events": [
            {**wire.event_summary(step.event), "changed": _changed(step.before, step.after)} for step in steps[:limit]
        ],
        "next": steps[limit - 1].event.position if len(steps) > limit else None,
        **wire.fold_summary(found, checkpoint.position),
    }
    return answer(body, checkpoint.position)


def _key(model: Model, text: str | None) -> list[Any]:
    hints = typing.get_type_hints(model.row)
    try:
        values = zip(msgspec.json.decode(text or "", type=list[Any]), model.key, strict=True)
        return [_fitting(msgspec.convert(value, hints[name])) for value, name in values]
    except (ValueError, OverflowError, RecursionError):
        names = ", ".join(model.key) or "nothing, for a PBX has one row"
        raise ApiError(400, f"key: a JSON list of {names}") from None


def _fitting(value: Any) -> Any:
    """Return the value as PostgreSQL can hold it. Raises ValueError or OverflowError."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without zone")
        return value.astimezone(UTC)
    if (isinstance(value, str) and "\0" in value) or (isinstance(value, int) and abs(value) > MAX_POSITION):
        raise ValueError("no value of a column")
    return value


async def _windows(connection: asyncpg.Connection, row: Row, upto: int) -> list[Window]:
    """Return where the events may stand, the least first; the row's time is the PBX's clock, which may be wrong."""
    _, after, until = await connection.fetchrow(BOUNDS, row.tm_update, row.tm_update)
    ends = (min(until, upto), upto)
    windows = {(max(0, after - more), end) for more in EARLIER for end in ends if end > after}
    return sorted({*windows, (0, upto)}, key=lambda window: window[1] - window[0])


def _row(row: Row) -> Any:
    return msgspec.Raw(masked_json(msgspec.json.encode(row)))


def _changed(before: Row | None, after: Row | None) -> list[str]:
    if before is None or after is None:
        return ["deleted" if after is None else "created"]
    names = (name for name in after.__struct_fields__ if name != "tm_update")
    return [name for name in names if getattr(before, name) != getattr(after, name)]
