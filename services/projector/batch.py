"""Folds one batch of events into tables: reads the rows, folds, and writes rows and checkpoints."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from projections.engine.decoding import DecodedEvent
from projections.engine.derived import changes_of
from projections.engine.fold import Fold
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import Key
from projections.engine.open_machine import OpenMachine
from projections.engine.subscriptions import Subscriptions
from schemas.log import RecordedEvent
from services.database.notify import NotifyChannel
from services.log.continuity import RewoundError
from services.projector import saved_states, swap
from services.projector.cursor import ModelCursor, StoppedError, stopping_model
from services.projector.ended_rows import Fetch, load_ended

SAVE_CHECKPOINTS = f"""
WITH saved AS (
    UPDATE ledger.checkpoint c SET position = $1, at = $2, changed = n.changed,
        state = coalesce(n.state, c.state), error = NULL
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::jsonb[]) AS n (model, place, changed, state)
    WHERE c.model = n.model AND c.place = n.place AND c.position = $8
    RETURNING c.model
),
notified AS (SELECT pg_notify('{NotifyChannel.MODELS}', $7::text) WHERE $7::text IS NOT NULL)
SELECT (SELECT count(*) FROM saved), (SELECT count(*) FROM notified)
"""
RECORD_REJECTED = """
INSERT INTO ledger.unfit (model, place, position, name, error)
SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[])
ON CONFLICT DO NOTHING
"""

YIELD_EVENTS = 500
"""How many events are taken or folded before statements go out and results come in, for others than these events."""

logger = structlog.get_logger()


class BatchWriter:
    """Folds and writes batches of models that are at the same position, over one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def advance(
        self,
        group: list[ModelCursor],
        rows: list[asyncpg.Record],
        subscriptions: Subscriptions,
        fetch: Fetch | None = None,
    ) -> dict[ModelCursor, Fold]:
        """Fold the events in ``rows`` (of `read_events`), and write rows and checkpoints in one transaction.

        ``fetch`` reads over another connection, if there is one. Then PostgreSQL writes one model while another one is
        folded. The result lacks models that handle none of the events. Raises StoppedError and RewoundError.
        """
        await self._open_machines(group)
        folds = await _plan(group, rows, subscriptions)
        position: int = rows[-1][0]
        async with self._connection.transaction():
            writing: asyncio.Future[None] = asyncio.ensure_future(_nothing())
            try:
                # The largest writes come first, so that the other models are folded meanwhile.
                for cursor in sorted(folds, key=lambda cursor: cursor.model.machine is None):
                    if fetch is None or writing.done():
                        await writing
                    await _fold(cursor, folds[cursor], position, fetch or self._connection.fetch)
                    writing = asyncio.ensure_future(self._write(writing, cursor, folds[cursor], position))
                await writing
            finally:
                await asyncio.gather(writing, return_exceptions=True)
            await self.save(group, folds, position, rows[-1][6])
        return folds

    async def _write(self, before: asyncio.Future[None], cursor: ModelCursor, fold: Fold, position: int) -> None:
        """Write the rows of a model, after those of the model before."""
        await before
        with stopping_model(cursor, f"writing rows of {cursor.position + 1}..{position}"):
            await self._write_rows(cursor, fold)

    async def _open_machines(self, group: list[ModelCursor]) -> None:
        for cursor in group:
            if cursor.model.machine is not None and cursor.opened is None:
                table = cursor.table
                with stopping_model(cursor, f"reading the open rows at {cursor.position}"):
                    rows = table.rows(await self._connection.fetch(table.select_open))
                    cursor.opened = OpenMachine(cursor.model, cursor.state, {table.key_of(row): row for row in rows})

    async def save(self, group: list[ModelCursor], folds: dict[ModelCursor, Fold], position: int, at: datetime) -> None:
        """Write the checkpoints, and at intervals the saved states. Raises RewoundError if a checkpoint has moved."""
        changed = {cursor: fold.changed for cursor, fold in folds.items() if fold.changed}
        changed_models = [cursor.model.name for cursor in changed if cursor.schema == "model"]
        is_served = any(cursor.schema == "model" for cursor in group)
        saved_rows, _ = await self._connection.fetchrow(
            SAVE_CHECKPOINTS,
            position,
            at,
            [c.model.name for c in group],
            [c.schema for c in group],
            [changed.get(c, c.changed) for c in group],
            [msgspec.to_builtins(folds[c].state) if c in folds and folds[c].state != c.state else None for c in group],
            swap.notification(position, changed_models) if is_served else None,
            group[0].position,
        )
        if saved_rows != len(group):
            raise RewoundError(f"the checkpoints of models at {group[0].position} have moved")
        if saved_states.is_due(group[0].position, position):
            await saved_states.save(self._connection, [c.table for c in group], position)

    async def _write_rows(self, cursor: ModelCursor, fold: Fold) -> None:
        table = cursor.table
        if fold.rejected:
            await self.record_rejected(cursor, fold.rejected)
        deleted = [key for key in fold.dirty if key not in fold.rows]
        if deleted:
            await self._connection.execute(table.delete, *table.key_arrays(deleted))
        rows = [fold.rows[key] for key in fold.dirty if key in fold.rows]
        if rows:
            await self._connection.execute(table.upsert_json, table.json(rows))
        changed = [(fold.before[key], fold.rows.get(key)) for key in fold.dirty] if table.derived else []
        for one, derived in zip(table.derived, cursor.model.derived, strict=True):
            change = changes_of(
                derived, changed, fold.parts_of(one.bare_name) if isinstance(fold, MachineFold) else None
            )
            present: dict[Key, Any] = {}
            if change.differences:
                sums = one.rows(await self._connection.fetch(one.select, *one.key_arrays(list(change.differences))))
                present = {one.key_of(row): row for row in sums}
            deleted, rows = change.apply(present)
            if deleted:
                await self._connection.execute(one.delete, *one.key_arrays(deleted))
            if rows:
                await self._connection.execute(one.upsert_json, one.json(rows))

    async def record_rejected(self, cursor: ModelCursor, rejected: list[tuple[int, str, str]]) -> None:
        """Record the events that the fold rejected."""
        logger.warning("events_unfit", model=cursor.model.name, count=len(rejected), first=rejected[0])
        await self._connection.execute(RECORD_REJECTED, cursor.model.name, cursor.schema, *zip(*rejected, strict=True))


async def _plan(
    group: list[ModelCursor], rows: list[asyncpg.Record], subscriptions: Subscriptions
) -> dict[ModelCursor, Fold]:
    """Decode the events once, and let each model plan the fold of those that it handles."""
    folds: dict[ModelCursor, Fold] = {}
    appliers: list[Callable[[DecodedEvent], None] | None] = [None] * len(group)
    for number, row in enumerate(rows):
        if number % YIELD_EVENTS == 0:
            await asyncio.sleep(0)
        event = RecordedEvent(*row)
        subset, indexes = subscriptions.get(event.name, (None, ()))
        decoded = DecodedEvent(event, subset)
        for index in indexes:
            apply = appliers[index]
            if apply is None:
                fold = folds[group[index]] = _fold_of(group[index])
                apply = appliers[index] = fold.apply
            apply(decoded)
    return folds


async def _fold(cursor: ModelCursor, fold: Fold, position: int, fetch: Fetch) -> None:
    """Read the rows that a model needs, and fold its events. Raises StoppedError."""
    with stopping_model(cursor, f"reading rows for {cursor.position + 1}..{position}"):
        await _load(cursor, fold, fetch)
    while fold.run(YIELD_EVENTS):  # noqa: ASYNC110 (other statements go out meanwhile)
        await asyncio.sleep(0)
    if fold.error is not None:
        event, error = fold.error
        raise StoppedError(cursor, f"position {event.position} ({event.name})") from error


async def _load(cursor: ModelCursor, fold: Fold, fetch: Fetch) -> None:
    """Load the rows that the fold needs: those that the batch before has left, and others from the tables."""
    table = cursor.table
    if isinstance(fold, MachineFold):
        await load_ended(fetch, table, fold)
    if fold.pbxes:
        fold.load(table.rows(await fetch(table.select_pbx, list(fold.pbxes))), table.key_of)
    if groups := [key for key in fold.groups if key[0] not in fold.pbxes]:
        fold.load(table.rows(await fetch(table.select_group, *table.key_arrays(groups))), table.key_of)
    keys = [key for key in fold.keys if key[0] not in fold.pbxes]
    if unknown := [key for key in keys if key not in cursor.recent]:
        fold.load(table.rows(await fetch(table.select, *table.key_arrays(unknown))), table.key_of)
    fold.load([row for key in keys if (row := cursor.recent.get(key)) is not None], table.key_of)
    fold.loaded = keys


async def _nothing() -> None:
    """Write nothing, before the first model."""


def _fold_of(cursor: ModelCursor) -> Fold:
    # The machine comes back when the batch is committed; another is opened if it fails.
    opened, cursor.opened = cursor.opened, None
    return new_fold(cursor.model, cursor.state, opened=opened)
