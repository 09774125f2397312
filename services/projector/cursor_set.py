"""The models that a projector advances: their positions, their rebuilds and swaps, and which have stopped."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import asyncpg
import msgspec
import structlog

from projections.engine.model import ReadModel
from projections.engine.state import FoldState
from schemas.log import MAX_POSITION
from services.database.compatible import check_models
from services.log.archives import last_archived
from services.projector import swap
from services.projector.cursor import ModelCursor, Schema, StoppedError
from services.projector.initial_state import NoInitialStateError

SWAP_RETRY_SECONDS = 1.0

logger = structlog.get_logger()

CHECKPOINTS = "SELECT model, place, version, position, changed, state, error FROM ledger.checkpoint"
VERSION = "SELECT version FROM ledger.checkpoint WHERE model = $1 AND place = 'model'"
STOP = "UPDATE ledger.checkpoint SET error = $3 WHERE model = $1 AND place = $2"
REQUESTED = "SELECT model, coalesce(upto, $1) FROM ledger.rebuild WHERE ended IS NULL ORDER BY number"


class CursorSet:
    """The cursors of the models that go on, and the reasons why others have stopped.

    A model whose version was raised is built from the start in schema ``rebuild``, while its present table is served
    unchanged. A model with a request in ``ledger.rebuild`` is rebuilt too (set ``is_requested`` after a request), while
    its table is kept up to date. When the new table has caught up, the two are swapped.

    A model that fails stops, with position and error in its checkpoint; the others go on. The next `open` tries it
    again. No model goes past its position in ``until``.
    """

    def __init__(
        self, connection: asyncpg.Connection, models: Sequence[ReadModel], until: Mapping[str, int] | None = None
    ) -> None:
        self._connection = connection
        self._models = models
        self._until = until or {}
        self.cursors: list[ModelCursor] = []
        self.stopped: dict[str, str] = {}
        self.is_requested = asyncio.Event()
        self._swap_at = 0.0

    async def open(self) -> None:
        """Read the checkpoints and the rebuild requests, and create missing tables. Raises IncompatibleError."""
        checkpoints = {(row["model"], row["place"]): row for row in await self._connection.fetch(CHECKPOINTS)}
        check_models(
            [(name, row["version"]) for (name, place), row in checkpoints.items() if place == "model"], self._models
        )
        requested = dict(await self._connection.fetch(REQUESTED, MAX_POSITION))
        archived = await last_archived(self._connection)
        for model in self._models:
            served, rebuild = checkpoints.get((model.name, "model")), checkpoints.get((model.name, "rebuild"))
            until: int | None = requested.get(model.name)
            if served is None:
                await self._start(model, "model")
                await swap.end_rebuild(self._connection, model.name, 0)
                until = None
            elif served["version"] != model.version or served["position"] < archived:
                until = until or MAX_POSITION
            else:
                self._resume(model, served)
            if rebuild is not None and (
                until is None or rebuild["version"] != model.version or not archived <= rebuild["position"] <= until
            ):
                await self._discard(model)
                rebuild = None
            if rebuild is not None and until is not None:
                self._resume(model, rebuild, until)
            elif until is not None:
                await self._start(model, "rebuild", until)

    async def start_requested(self) -> None:
        """Start the rebuilds that were requested since."""
        self.is_requested.clear()
        for name, until in await self._connection.fetch(REQUESTED, MAX_POSITION):
            model = next((m for m in self._models if m.name == name), None)
            if model is None:
                await swap.end_rebuild(self._connection, name, None, "the running projector has no such model")
                continue
            cursor = next((c for c in self.cursors if c.model is model and c.schema == "rebuild"), None)
            if cursor is not None and cursor.position <= until:
                cursor.until = until
                continue
            await self._discard(model)
            await self._start(model, "rebuild", until)

    async def _start(self, model: ReadModel, schema: Schema, until: int = MAX_POSITION) -> None:
        """Start a model at the start of the log; without a saved state there it is blocked, and the others go on."""
        try:
            initial = await swap.create(self._connection, model, schema)
        except NoInitialStateError as error:
            logger.error("model_barred", model=model.name, error=str(error))  # noqa: TRY400 (the message is all there is)
            await self._block(model, schema, str(error))
        else:
            if initial.position and initial.version != model.version:
                logger.warning("model_begins_with_state_of_other_version", model=model.name, version=initial.version)
            self._add(ModelCursor(model, schema, initial.position, initial.changed, initial.state, until=until))

    async def _block(self, model: ReadModel, schema: Schema, error: str) -> None:
        if any(c.model is model and c.schema == "model" for c in self.cursors):
            # Only the requested rebuild fails; the served table stays up to date.
            await swap.end_rebuild(self._connection, model.name, None, error)
            return
        await swap.block(self._connection, model, schema, error)
        self.stopped[model.name] = error

    def _resume(self, model: ReadModel, row: asyncpg.Record, until: int = MAX_POSITION) -> None:
        state = msgspec.convert(row["state"], FoldState)
        self._add(ModelCursor(model, row["place"], row["position"], row["changed"], state, until=until))

    def _add(self, cursor: ModelCursor) -> None:
        cursor.until = min(cursor.until, self._until.get(cursor.model.name, MAX_POSITION))
        self.cursors.append(cursor)

    async def _discard(self, model: ReadModel) -> None:
        await swap.discard(self._connection, model)
        self.cursors = [c for c in self.cursors if c.model is not model or c.schema != "rebuild"]

    async def _serve(self, rebuilt: list[ModelCursor]) -> None:
        """Swap rebuilt tables in; retry after a while when readers hold the lock of the views."""
        if not rebuilt or time.monotonic() < self._swap_at:
            return
        try:
            result = await swap.swap(self._connection, rebuilt)
        except asyncpg.LockNotAvailableError:
            self._swap_at = time.monotonic() + SWAP_RETRY_SECONDS
            logger.info("swap_delayed", models=[c.model.name for c in rebuilt], retry_in=SWAP_RETRY_SECONDS)
            return
        for new in result.served:
            name, model = new.model.name, new.model
            self.cursors = [c for c in self.cursors if c.model is not model]
            self._add(ModelCursor(model, "model", new.position, new.position, new.state))
            self.stopped.pop(name, None)
            logger.info("model_swapped", model=name, version=model.version, position=new.position)
        for new in result.behind:
            if new.position >= new.until:
                await self._abandon(new, f"the served table is already at {result.positions[new.model.name]}")

    async def _abandon(self, cursor: ModelCursor, error: str) -> None:
        await self._discard(cursor.model)
        await swap.end_rebuild(self._connection, cursor.model.name, None, error)
        logger.error("rebuild_taken_back", model=cursor.model.name, error=error)

    async def _stop(self, stopped: StoppedError) -> None:
        cursor = stopped.cursor
        name = cursor.model.name
        message = f"{stopped}: {stopped.__cause__!r}"
        if cursor.schema == "rebuild" and await self._connection.fetchval(VERSION, name) == cursor.model.version:
            # Only the requested rebuild fails; the served table is unaffected.
            await self._abandon(cursor, message)
            return
        logger.error("model_stopped", model=name, error=message, exc_info=stopped.__cause__)
        await self._connection.execute(STOP, name, cursor.schema, message)
        if cursor.schema == "rebuild":
            await swap.end_rebuild(self._connection, name, None, message)
        self.stopped[name] = message
        self.cursors.remove(cursor)
