"""One batch of events on its way into the tables: rows are read, folded and written, with the checkpoint."""

from collections.abc import Callable
from datetime import datetime

import asyncpg
import msgspec
import structlog

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.model import Key
from projections.engine.subscriptions import Subscriptions
from services.database.locks import Channel
from services.log import append as log
from services.log.continuity import RewoundError
from services.projector import saved_states as saved
from services.projector import swap as swaps
from services.projector.cursor import ModelCursor, StoppedError, blaming
from services.projector.table import Table

SAVE = f"""
WITH saved AS (
    UPDATE ledger.checkpoint c SET position = $1, at = $2, changed = n.changed,
        state = coalesce(n.state, c.state), error = NULL
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::jsonb[]) AS n (model, place, changed, state)
    WHERE c.model = n.model AND c.place = n.place AND c.position = $8
    RETURNING c.model
),
notified AS (SELECT pg_notify('{Channel.MODELS}', $7::text) WHERE $7::text IS NOT NULL)
SELECT (SELECT count(*) FROM saved), (SELECT count(*) FROM notified)
"""
UNFIT = """
INSERT INTO ledger.unfit (model, place, position, name, error)
SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[])
ON CONFLICT DO NOTHING
"""

logger = structlog.get_logger()


class BatchWriter:
    """The tables of models that stand at the same position, over one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def fold(
        self, group: list[ModelCursor], rows: list[asyncpg.Record], taking: Subscriptions
    ) -> dict[ModelCursor, Fold]:
        """Fold the events of ``rows``; models that take none of them have no part in what is returned.

        Raises StoppedError.
        """
        folds: dict[ModelCursor, Fold] = {}
        takes: list[Callable[[DecodedEvent], None] | None] = [None] * len(group)
        for row in rows:
            event = log.recorded(row)
            chosen, indexes = taking.get(event.name, (None, ()))
            decoded = DecodedEvent(event, chosen)
            for index in indexes:
                take = takes[index]
                if take is None:
                    fold = folds[group[index]] = Fold(group[index].model, group[index].state)
                    take = takes[index] = fold.take
                take(decoded)
        for follower, fold in folds.items():
            with blaming(follower, f"reading rows for {follower.position + 1}..{rows[-1][0]}"):
                await self._load(follower.table, fold)
            fold.run()
            if fold.error is not None:
                event, error = fold.error
                raise StoppedError(follower, f"position {event.position} ({event.name})") from error
        return folds

    async def _load(self, table: Table, fold: Fold) -> None:
        if fold.pbxes:
            fold.load(table.rows(await self._connection.fetch(table.select_pbx, list(fold.pbxes))), table.key_of)
        for wanted, select in ((fold.groups, table.select_group), (fold.keys, table.select)):
            rest: list[Key] = [key for key in wanted if key[0] not in fold.pbxes]
            if rest:
                fold.load(table.rows(await self._connection.fetch(select, *table.key_arrays(rest))), table.key_of)

    async def write(
        self, group: list[ModelCursor], folds: dict[ModelCursor, Fold], position: int, at: datetime
    ) -> None:
        """Write what was folded, and how far; in the caller's transaction. Raises StoppedError."""
        for follower, fold in folds.items():
            with blaming(follower, f"writing rows of {follower.position + 1}..{position}"):
                await self._write_rows(follower, fold)
        await self.save(group, folds, position, at)

    async def save(self, group: list[ModelCursor], folds: dict[ModelCursor, Fold], position: int, at: datetime) -> None:
        """Write the checkpoints, and now and then the states. Raises RewoundError if they stand elsewhere by now."""
        changed = {f: fold.changed for f, fold in folds.items() if fold.changed}
        served = [f.model.name for f in changed if f.place == "model"]
        saved_rows, _ = await self._connection.fetchrow(
            SAVE,
            position,
            at,
            [f.model.name for f in group],
            [f.place for f in group],
            [changed.get(f, f.changed) for f in group],
            [msgspec.to_builtins(folds[f].state) if f in folds and folds[f].state != f.state else None for f in group],
            swaps.news(position, served) if any(f.place == "model" for f in group) else None,
            group[0].position,
        )
        if saved_rows != len(group):
            raise RewoundError(f"the checkpoints of models at {group[0].position} have moved")
        if saved.due(group[0].position, position):
            await saved.save(self._connection, [f.table for f in group], position)

    async def _write_rows(self, follower: ModelCursor, fold: Fold) -> None:
        table = follower.table
        if fold.rejected:
            await self.note(follower, fold.rejected)
        gone = [key for key in fold.dirty if key not in fold.rows]
        if gone:
            await self._connection.execute(table.delete, *table.key_arrays(gone))
        rows = [fold.rows[key] for key in fold.dirty if key in fold.rows]
        if rows:
            await self._connection.execute(table.upsert, *table.arrays(rows))

    async def note(self, follower: ModelCursor, unfit: list[tuple[int, str, str]]) -> None:
        """Write down which events were passed over."""
        logger.warning("events_unfit", model=follower.model.name, count=len(unfit), first=unfit[0])
        await self._connection.execute(UNFIT, follower.model.name, follower.place, *zip(*unfit, strict=True))
