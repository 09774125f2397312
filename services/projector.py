"""Folds the log into the read models: rows and checkpoint in one transaction, so every event counts exactly once."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from projections.kit import Decoded, Fold, Key, Model, State
from services import log
from services.tables import Table

BATCH = 5000
POLL_SECONDS = 1.0
LOCK = 7310003

logger = structlog.get_logger()

CHECKPOINTS = """
SELECT model, version, position, changed, at, state, error FROM ledger.checkpoint WHERE place = $1 ORDER BY model
"""
SAVE = """
UPDATE ledger.checkpoint c SET position = $2, at = $3, changed = n.changed, state = n.state
FROM unnest($4::text[], $5::bigint[], $6::jsonb[]) AS n (model, changed, state)
WHERE c.place = $1 AND c.model = n.model
"""
UNFIT = """
INSERT INTO ledger.unfit (model, position, name, error) SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING
"""
STOP = "UPDATE ledger.checkpoint SET error = $3 WHERE place = $1 AND model = $2"
ENTER = "INSERT INTO ledger.checkpoint (model, place, version) VALUES ($1, $2, $3)"


class Follower:
    """One model on its way along the log."""

    def __init__(self, model: Model, position: int, changed: int, state: State) -> None:
        self.model = model
        self.table = Table(model)
        self.position = position
        self.changed = changed
        self.state = state


class Projector:
    """Advances models along the log; ``place`` is the schema of their tables and the key of their checkpoints.

    The connection's search_path must start with ``place``.
    """

    def __init__(self, connection: asyncpg.Connection, models: Sequence[Model], place: str = "model") -> None:
        self._connection = connection
        self._models = models
        self._place = place
        self.followers: list[Follower] = []
        self.stopped: dict[str, str] = {}

    async def open(self) -> None:
        """Create the tables that are missing and read the checkpoints."""
        known = {row["model"]: row for row in await self._connection.fetch(CHECKPOINTS, self._place)}
        for model in self._models:
            row = known.get(model.name)
            if row is None:
                async with self._connection.transaction():
                    await self._connection.execute(Table(model).create)
                    await self._connection.execute(ENTER, model.name, self._place, model.version)
                self.followers.append(Follower(model, 0, 0, State()))
            elif row["error"] is not None:
                self.stopped[model.name] = row["error"]
            else:
                state = msgspec.convert(row["state"], State)
                self.followers.append(Follower(model, row["position"], row["changed"], state))

    async def advance(self, limit: int = BATCH) -> int:
        """Fold one batch into the models that are furthest behind; return how many events were read.

        Models at the same position go together. A model whose fold fails stops, with position and error in its
        checkpoint; the others go on.
        """
        if not self.followers:
            return 0
        behind = min(f.position for f in self.followers)
        group = [f for f in self.followers if f.position == behind]
        upto = min((f.position for f in self.followers if f.position > behind), default=1 << 62)
        records = await log.read(self._connection, behind, upto, limit)
        if not records:
            return 0
        events = [log.recorded(record) for record in records]
        handled = frozenset().union(*(f.model.on for f in group), {"SnapshotListed", "SnapshotStarted"}, OURS)
        decoded = [Decoded(event) for event in events if event.name in handled]
        at: datetime = records[-1][6]
        async with self._connection.transaction():
            folds = [(f, await self._fold(f, decoded)) for f in group]
            done = [(f, fold) for f, fold in folds if fold is not None]
            for follower, fold in done:
                await self._write(follower, fold)
            position = events[-1].position
            changed = [fold.changed or f.changed for f, fold in done]
            await self._connection.execute(
                SAVE,
                self._place,
                position,
                at,
                [f.model.name for f, _ in done],
                changed,
                [msgspec.to_builtins(f.state) for f, _ in done],
            )
            if self._place == "model":
                news = {"position": position, "changed": [f.model.name for f, fold in done if fold.changed]}
                await self._connection.execute(
                    "SELECT pg_notify('ringledger_model', $1)", msgspec.json.encode(news).decode()
                )
        for (follower, _), last in zip(done, changed, strict=True):
            follower.position, follower.changed = position, last
        return len(events)

    async def _fold(self, follower: Follower, decoded: list[Decoded]) -> Fold | None:
        fold = Fold(follower.model, follower.state)
        event = None
        try:
            keys: set[Key] = set()
            groups: set[Key] = set()
            pbxes: set[str] = set()
            for one in decoded:
                event = one.event
                fold.wants(one, keys, groups, pbxes)
            await self._load(follower.table, fold, keys, groups, pbxes)
            for one in decoded:
                event = one.event
                fold.apply(one)
        except asyncpg.PostgresError:
            raise
        except Exception as error:
            where = f"position {event.position} ({event.name})" if event else "before the first event"
            logger.exception("model_stopped", model=follower.model.name, at=where)
            self.stopped[follower.model.name] = message = f"{where}: {error!r}"
            self.followers.remove(follower)
            await self._connection.execute(STOP, self._place, follower.model.name, message)
            return None
        return fold

    async def _load(self, table: Table, fold: Fold, keys: set[Key], groups: set[Key], pbxes: set[str]) -> None:
        if pbxes:
            fold.load(table.rows(await self._connection.fetch(table.select_pbx, list(pbxes))), table.key_of)
        for wanted, select in ((groups, table.select_group), (keys, table.select)):
            rest = [key for key in wanted if key[0] not in pbxes]
            if rest:
                fold.load(table.rows(await self._connection.fetch(select, *table.key_arrays(rest))), table.key_of)

    async def _write(self, follower: Follower, fold: Fold) -> None:
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

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Advance until ``stop``; ``wake`` is set when the log has grown, and polling makes sure."""
        while not stop.is_set():
            wake.clear()
            if await self.advance() == 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()


OURS: frozenset[Any] = frozenset({"SnapshotCompleted", "Disconnected"})
