"""Folds the log into the read models: rows and checkpoint in one transaction, so every event counts exactly once."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal

import asyncpg
import msgspec
import structlog

from projections.kit import Decoded, Fold, Key, Model, State, Takers, takers
from services import log, saved
from services.tables import Table

BATCH = 5000
POLL_SECONDS = 1.0
LOCK = 7310003

logger = structlog.get_logger()

Place = Literal["model", "rebuild"]

CHECKPOINTS = "SELECT model, place, version, position, changed, state, error FROM ledger.checkpoint"
ENTER = "INSERT INTO ledger.checkpoint (model, place, version) VALUES ($1, $2, $3)"
LEAVE = "DELETE FROM ledger.checkpoint WHERE model = $1 AND place = $2"
SAVE = """
WITH saved AS (
    UPDATE ledger.checkpoint c SET position = $1, at = $2, changed = n.changed, state = n.state, error = NULL
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::jsonb[]) AS n (model, place, changed, state)
    WHERE c.model = n.model AND c.place = n.place
)
SELECT pg_notify('ringledger_model', $7::text) WHERE $7::text IS NOT NULL
"""
STOP = "UPDATE ledger.checkpoint SET error = $3 WHERE model = $1 AND place = $2"
SERVE = "UPDATE ledger.checkpoint SET place = 'model', changed = position WHERE model = $1 AND place = 'rebuild'"
NOTIFY = "SELECT pg_notify('ringledger_model', $1)"
UNFIT = """
INSERT INTO ledger.unfit (model, position, name, error) SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING
"""

DATABASE_FAULTS = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
)
"""What no model is to blame for."""


class StoppedError(Exception):
    """A model cannot go on; ``where`` is the position, or what was being done."""

    def __init__(self, follower: "Follower", where: str) -> None:
        super().__init__(where)
        self.follower = follower


class Follower:
    """One model on its way along the log; ``place`` is the schema of its table: served, or being rebuilt."""

    def __init__(self, model: Model, place: Place, position: int, changed: int, state: State) -> None:
        self.model = model
        self.place = place
        self.table = Table(model, place)
        self.position = position
        self.changed = changed
        self.state = state


class Projector:
    """Advances models along the log.

    Models at the same position go together: one read, one decoding, one transaction. A model whose version was raised
    is built from the start in schema ``rebuild``, while its table goes on being served as it stands; when the new one
    has caught up they are swapped. A model that fails stops, with position and error in its checkpoint, and the
    others go on; it is tried again at the next `open`.
    """

    def __init__(self, connection: asyncpg.Connection, models: Sequence[Model]) -> None:
        self._connection = connection
        self._models = models
        self.followers: list[Follower] = []
        self.stopped: dict[str, str] = {}
        self._takers: dict[tuple[str, ...], Takers] = {}

    async def open(self) -> None:
        """Read the checkpoints, and create the tables that are missing."""
        known = {(row["model"], row["place"]): row for row in await self._connection.fetch(CHECKPOINTS)}
        for model in self._models:
            live, rebuild = known.get((model.name, "model")), known.get((model.name, "rebuild"))
            place: Place = "rebuild" if live is not None and live["version"] != model.version else "model"
            row = live if place == "model" else rebuild
            if rebuild is not None and rebuild["version"] != (model.version if place == "rebuild" else None):
                await self._discard(model)
                row = live if place == "model" else None
            if row is None:
                async with self._connection.transaction():
                    await self._connection.execute(Table(model, place).create)
                    await self._connection.execute(ENTER, model.name, place, model.version)
                self.followers.append(Follower(model, place, 0, 0, State()))
            else:
                state = msgspec.convert(row["state"], State)
                self.followers.append(Follower(model, place, row["position"], row["changed"], state))

    async def _discard(self, model: Model) -> None:
        async with self._connection.transaction():
            await self._connection.execute(f"DROP TABLE {Table(model, 'rebuild').name}")
            await self._connection.execute(LEAVE, model.name, "rebuild")

    async def advance(self, limit: int = BATCH) -> int:
        """Take every group of models one batch of up to ``limit`` events further; return 0 when all are at the end.

        The foremost group goes first, so that those behind it can reach it.
        """
        passed = 0
        ahead = 1 << 62
        for position in sorted({f.position for f in self.followers}, reverse=True):
            group = [f for f in self.followers if f.position == position]
            try:
                reached = await self._advance(group, position, min(position + limit, ahead))
                passed += reached - position
                ahead = reached
            except StoppedError as stopped:
                await self._stop(stopped)
                passed += 1
        return passed

    async def _advance(self, group: list[Follower], behind: int, upto: int) -> int:
        together = tuple(f.model.name for f in group)
        if together not in self._takers:
            self._takers[together] = takers([f.model for f in group])
        taking = self._takers[together]
        rows = await log.read(self._connection, behind, upto, list(taking))
        position: int = rows[-1][0] if rows else behind
        if rows:
            folds = await self._fold(group, rows, taking)
            async with self._connection.transaction():
                await self._write(group, folds, position, rows[-1][6])
                if saved.due(behind, position):
                    await saved.save(self._connection, [f.table for f in group], position)
            # Only now: what is remembered is never ahead of what is committed.
            for follower in group:
                follower.position = position
                if (fold := folds.get(follower)) is not None:
                    follower.state = fold.state
                    follower.changed = fold.changed or follower.changed
        await self._serve([f for f in group if f.place == "rebuild"], at_end=position < upto)
        return position

    async def _fold(self, group: list[Follower], rows: list[asyncpg.Record], taking: Takers) -> dict[Follower, Fold]:
        """Fold the events of ``rows``; models that take none of them have no part in what is returned."""
        folds: dict[Follower, Fold] = {}
        takes: list[Callable[[Decoded], None] | None] = [None] * len(group)
        for row in rows:
            event = log.recorded(row)
            chosen, indexes = taking.get(event.name, (None, ()))
            decoded = Decoded(event, chosen)
            for index in indexes:
                take = takes[index]
                if take is None:
                    fold = folds[group[index]] = Fold(group[index].model, group[index].state)
                    take = takes[index] = fold.take
                take(decoded)
        for follower, fold in folds.items():
            with _blaming(follower, f"reading rows for {follower.position + 1}..{rows[-1][0]}"):
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

    async def _write(self, group: list[Follower], folds: dict[Follower, Fold], position: int, at: datetime) -> None:
        for follower, fold in folds.items():
            with _blaming(follower, f"writing rows of {follower.position + 1}..{position}"):
                await self._write_rows(follower, fold)
        changed = {f: fold.changed for f, fold in folds.items() if fold.changed}
        served = [f.model.name for f in changed if f.place == "model"]
        await self._connection.execute(
            SAVE,
            position,
            at,
            [f.model.name for f in group],
            [f.place for f in group],
            [changed.get(f, f.changed) for f in group],
            [msgspec.to_builtins(folds[f].state if f in folds else f.state) for f in group],
            _news(position, served) if any(f.place == "model" for f in group) else None,
        )

    async def _write_rows(self, follower: Follower, fold: Fold) -> None:
        table = follower.table
        if fold.unfit:
            logger.warning("events_unfit", model=follower.model.name, count=len(fold.unfit), first=fold.unfit[0])
            positions, names, errors = zip(*fold.unfit, strict=True)
            await self._connection.execute(UNFIT, follower.model.name, positions, names, errors)
        gone = [key for key in fold.dirty if key not in fold.rows]
        if gone:
            await self._connection.execute(table.delete, *table.key_arrays(gone))
        rows = [fold.rows[key] for key in fold.dirty if key in fold.rows]
        if rows:
            await self._connection.execute(table.upsert, *table.arrays(rows))

    async def _serve(self, rebuilt: list[Follower], *, at_end: bool) -> None:
        """Swap in the tables that have caught up with those served, or with the log where none is."""
        served = max((f.position for f in self.followers if f.place == "model"), default=None)
        for follower in rebuilt:
            if not (at_end or (served is not None and follower.position >= served)):
                continue
            name = follower.model.name
            async with self._connection.transaction():
                await self._connection.execute(f"DROP TABLE {Table(follower.model, 'model').name}")
                await self._connection.execute(f"ALTER TABLE {follower.table.name} SET SCHEMA model")
                await self._connection.execute(LEAVE, name, "model")
                await self._connection.execute(SERVE, name)
                await self._connection.execute(NOTIFY, _news(follower.position, [name]))
            self.followers[self.followers.index(follower)] = Follower(
                follower.model, "model", follower.position, follower.position, follower.state
            )
            logger.info("model_swapped", model=name, version=follower.model.version, position=follower.position)

    async def _stop(self, stopped: StoppedError) -> None:
        follower = stopped.follower
        message = f"{stopped}: {stopped.__cause__!r}"
        logger.error("model_stopped", model=follower.model.name, error=message, exc_info=stopped.__cause__)
        await self._connection.execute(STOP, follower.model.name, follower.place, message)
        self.stopped[follower.model.name] = message
        self.followers.remove(follower)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Advance until ``stop``; ``wake`` is set when the log has grown, and polling makes sure."""
        while not stop.is_set():
            wake.clear()
            if await self.advance() == 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()


def _news(position: int, changed: list[str]) -> str:
    return msgspec.json.encode({"position": position, "changed": changed}).decode()


@contextlib.contextmanager
def _blaming(follower: Follower, doing: str) -> Iterator[None]:
    """Turn what goes wrong with one model's table into a stop of that model."""
    try:
        yield
    except DATABASE_FAULTS:
        raise
    except Exception as error:
        if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):
            raise  # the connection is gone; a value that cannot be sent is a ValueError too
        raise StoppedError(follower, doing) from error
