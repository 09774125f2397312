"""?model=<name>&key=<JSON list>: the events that led to the present row of a read model.

The model is folded again over the part of the log in which the row last changed. Longer parts follow, until the fold
gives the row that is served. An explanation of a call has the ``positions`` behind each ring, conversation, transfer.
"""

import typing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from api.app_keys import POOL
from api.http.errors import ApiError
from api.http.paging import page
from api.http.query import MAX_BIGINT, QueryParams
from api.ledger.events import answer
from api.ledger.explain import wire
from api.ledger.search import BOUNDS
from projections import ALL
from projections.calls.calls import CALLS
from projections.engine.model import Key, ReadModel, Row
from projections.engine.trace import Step
from services.projector.checkpoints.checkpoints import UnreadyError, read
from services.projector.table import Table
from services.replay.explain import Window, explain_rows
from services.replay.explain_call import explain_call
from services.runtime.masking.json import mask_json

LIMIT = 1_000
MAX_LIMIT = 10_000
MODELS = {model.name: (model, Table(model)) for model in ALL}
EARLIER = (0, 10_000, 100_000, 1_000_000)
"""Positions before the row's last change at which the fold begins, one after the other."""
# Any id of a call names it. An id that two calls of a PBX have names the newer one, as in /v1/calls.
CALL_KEYS = """
SELECT DISTINCT ON (pbx) pbx, linkedid FROM call_ids WHERE id = $1::text AND pbx = ANY ($2::text[])
ORDER BY pbx, number DESC
"""
PBXES = "SELECT pbx FROM ledger.connection GROUP BY pbx ORDER BY pbx"


async def explain(request: web.Request) -> web.Response:
    params = QueryParams(request, "model", "key", "pbx", "cursor", "limit")
    model, table = MODELS[str(params.word("model", *MODELS))]
    key = _key(model, params.text("key"))
    pbx, cursor, limit = params.text("pbx"), params.position("cursor") or 0, params.number("limit", LIMIT, MAX_LIMIT)
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        reading = await read(connection)
        checkpoint = reading.models.get(model.name)
        if checkpoint is None or checkpoint.version != model.version:
            raise UnreadyError(f"read model {model.name} is being built")
        pbxes = [pbx] if pbx is not None else [row[0] for row in await connection.fetch(PBXES)]
        keys: list[Key] = [(one, *key) for one in pbxes]
        if model is CALLS:
            keys = [tuple(record) for record in await connection.fetch(CALL_KEYS, key[0], pbxes)]
        rows: list[Any] = table.rows(await connection.fetch(table.select, *table.key_arrays(keys)))
        if not rows:
            raise ApiError(404, f"not found: a row of {model.name} with this key")
        if len(rows) > 1:
            raise ApiError(400, f"pbx: several PBXes have this row: {', '.join(sorted(row.pbx for row in rows))}")
        row = rows[0]
        windows = await _windows(connection, row, checkpoint.position)
    full = table.key_of(row)
    positions = {}
    if model is CALLS:
        explained = await explain_call(request.app[POOL], row, checkpoint.position)
        refolded, made = explained.folded, explained.steps
        positions = {"positions": explained.positions}
    else:
        refolded = await explain_rows(request.app[POOL], model, {full: row}, windows)
        # Steps before the last deletion are the history of an earlier row.
        start = max((i for i, step in enumerate(refolded.steps) if step.before is None), default=0)
        made = refolded.steps[start:]
    later = [step for step in made if step.event.position > cursor]
    steps, after = page(later, limit, lambda step: step.event.position)
    body = {
        "model": model.name,
        "pbx": row.pbx,
        "key": list(full[1:]),
        "row": _row(row),
        "events": [_event(step, full) for step in steps],
        **positions,
        "next": after,
        **wire.fold_summary(refolded, checkpoint.position),
    }
    return answer(body, checkpoint.position)


def _key(model: ReadModel, text: str | None) -> list[Any]:
    hints = typing.get_type_hints(model.row)
    try:
        values = zip(msgspec.json.decode(text or "", type=list[Any]), model.key, strict=True)
        return [_fitting(msgspec.convert(value, hints[name])) for value, name in values]
    except (ValueError, OverflowError, RecursionError):
        names = ", ".join(model.key) or "no values, because each PBX has one row"
        raise ApiError(400, f"key: a JSON list of {names}") from None


def _fitting(value: Any) -> Any:
    """Return the value as PostgreSQL can store it. Raises ValueError or OverflowError."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without zone")
        return value.astimezone(UTC)
    if (isinstance(value, str) and "\0" in value) or (isinstance(value, int) and abs(value) > MAX_BIGINT):
        raise ValueError("no value of a column")
    return value


async def _windows(connection: asyncpg.Connection, row: Row, position: int) -> list[Window]:
    """Return the windows that may have the events, the shortest first. The PBX's clock may be wrong."""
    _, after, until = await connection.fetchrow(BOUNDS, row.tm_update, row.tm_update)
    ends = (min(until, position), position)
    windows = {(max(0, after - more), end) for more in EARLIER for end in ends if end > after}
    return sorted({*windows, (0, position)}, key=lambda window: window[1] - window[0])


def _row(row: Row) -> Any:
    return msgspec.Raw(mask_json(msgspec.json.encode(row)))


def _event(step: Step, full: Key) -> dict[str, Any]:
    """Return an event and what it changed; that of another row, which became part of this one, has its key."""
    other = {} if step.key == full else {"of": list(step.key[1:])}
    return {**wire.event_summary(step.event), "changed": _changed(step.before, step.after), **other}


def _changed(before: Row | None, after: Row | None) -> list[str]:
    if before is None or after is None:
        return ["deleted" if after is None else "created"]
    names = (name for name in after.__struct_fields__ if name != "tm_update")
    return [name for name in names if getattr(before, name) != getattr(after, name)]
