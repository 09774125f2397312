"""Folds the log into the read models: rows and checkpoint in one transaction, so every event counts exactly once."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import asyncpg
import msgspec
import structlog

from projections.engine.model import ReadModel
from projections.engine.state import State
from projections.engine.subscriptions import Subscriptions, subscriptions_of
from services.database.compatible import check_models
from services.log import append as log
from services.log import archives as edge
from services.log.archives import UnkeptError
from services.log.continuity import BEGINNING, follow_end
from services.projector import swap as swaps
from services.projector.batch import BatchWriter
from services.projector.catch_up import CatchUpBudget
from services.projector.cursor import MAX_POSITION, ModelCursor, Place, StoppedError

BATCH = 5000
POLL_SECONDS = 1.0
SWAP_RETRY_SECONDS = 1.0

logger = structlog.get_logger()

T = TypeVar("T")

CHECKPOINTS = "SELECT model, place, version, position, changed, state, error FROM ledger.checkpoint"
VERSION = "SELECT version FROM ledger.checkpoint WHERE model = $1 AND place = 'model'"
STOP = "UPDATE ledger.checkpoint SET error = $3 WHERE model = $1 AND place = $2"
ASKED = "SELECT model, coalesce(upto, $1) FROM ledger.rebuild WHERE ended IS NULL ORDER BY number"


class Projector:
    """Advances models along the log.

    Models at the same position go together: one read, one decoding, one transaction. A model whose version was raised
    is built from the start in schema ``rebuild``, while its table goes on being served as it stands; so is one for
    which ``ledger.rebuild`` asks (look there when ``asked`` is set), while its table goes on being kept up to date.
    When the new one has caught up they are swapped. A model that fails stops, with position and error in its
    checkpoint, and the others go on; it is tried again at the next `open`. None goes further than ``upto`` says.
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        models: Sequence[ReadModel],
        upto: Mapping[str, int] | None = None,
        tables: BatchWriter | None = None,
    ) -> None:
        self._connection = connection
        self._tables = tables or BatchWriter(connection)
        self._models = models
        self._upto = upto or {}
        self.followers: list[ModelCursor] = []
        self.stopped: dict[str, str] = {}
        self.asked = asyncio.Event()
        self._takers: dict[tuple[str, ...], Subscriptions] = {}
        self._turns = CatchUpBudget()
        self._swap_at = 0.0
        self._end = BEGINNING

    async def open(self) -> None:
        """Read the checkpoints and what is asked for, and create the tables that are missing. Raises NewerError."""
        self._end = await follow_end(self._connection, BEGINNING)
        known = {(row["model"], row["place"]): row for row in await self._connection.fetch(CHECKPOINTS)}
        check_models([(name, row["version"]) for (name, place), row in known.items() if place == "model"], self._models)
        asked = dict(await self._connection.fetch(ASKED, MAX_POSITION))
        archived = await edge.last(self._connection)
        for model in self._models:
            live, rebuild = known.get((model.name, "model")), known.get((model.name, "rebuild"))
            upto: int | None = asked.get(model.name)
            if live is None:
                await self._begin(model, "model")
                await swaps.ended(self._connection, model.name, 0)
                upto = None
            elif live["version"] != model.version or live["position"] < archived:
                upto = upto or MAX_POSITION
            else:
                self._follow(model, live)
            if rebuild is not None and (
                upto is None or rebuild["version"] != model.version or not archived <= rebuild["position"] <= upto
            ):
                await self._discard(model)
                rebuild = None
            if rebuild is not None and upto is not None:
                self._follow(model, rebuild, upto)
            elif upto is not None:
                await self._begin(model, "rebuild", upto)

    async def take_up(self) -> None:
        """Begin the rebuilds that have been asked for since."""
        self.asked.clear()
        for name, upto in await self._connection.fetch(ASKED, MAX_POSITION):
            model = next((m for m in self._models if m.name == name), None)
            if model is None:
                await swaps.ended(self._connection, name, None, "the projector that runs knows no such model")
                continue
            begun = next((f for f in self.followers if f.model is model and f.place == "rebuild"), None)
            if begun is not None and begun.position <= upto:
                begun.upto = upto
                continue
            await self._discard(model)
            await self._begin(model, "rebuild", upto)

    async def _begin(self, model: ReadModel, place: Place, upto: int = MAX_POSITION) -> None:
        """Let a model begin where the log does; the others go on if it cannot."""
        try:
            begun = await swaps.enter(self._connection, model, place)
        except UnkeptError as error:
            logger.error("model_barred", model=model.name, error=str(error))  # noqa: TRY400 (the message is all there is)
            await self._bar(model, place, str(error))
        else:
            if begun.position and begun.version != model.version:
                logger.warning("model_begins_with_state_of_other_version", model=model.name, version=begun.version)
            self._add(ModelCursor(model, place, begun.position, begun.changed, begun.state, upto=upto))

    async def _bar(self, model: ReadModel, place: Place, error: str) -> None:
        if any(f.model is model and f.place == "model" for f in self.followers):
            # Only a wish of somebody cannot be had; the table that is served goes on.
            await swaps.ended(self._connection, model.name, None, error)
            return
        await swaps.bar(self._connection, model, place, error)
        self.stopped[model.name] = error

    def _follow(self, model: ReadModel, row: asyncpg.Record, upto: int = MAX_POSITION) -> None:
        state = msgspec.convert(row["state"], State)
        self._add(ModelCursor(model, row["place"], row["position"], row["changed"], state, upto=upto))

    def _add(self, follower: ModelCursor) -> None:
        follower.upto = min(follower.upto, self._upto.get(follower.model.name, MAX_POSITION))
        self.followers.append(follower)

    async def _discard(self, model: ReadModel) -> None:
        await swaps.discard(self._connection, model)
        self.followers = [f for f in self.followers if f.model is not model or f.place != "rebuild"]

    async def advance(self, limit: int = BATCH) -> int:
        """Take every group of models one batch of up to ``limit`` events further; return 0 when all are at the end.

        The foremost group goes first, so that those behind can reach it; these take short steps, for it waits for them.
        """
        passed = 0
        ahead, busy = MAX_POSITION, False
        await self._tried(self._serve([f for f in self.followers if f.place == "rebuild" and f.position >= f.upto]))
        for position in sorted({f.position for f in self.followers if f.position < f.upto}, reverse=True):
            group = [f for f in self.followers if f.position == position < f.upto]
            began = time.monotonic()
            step = limit if ahead == MAX_POSITION else self._turns.step(limit, began, busy=busy)
            if step == 0:
                break
            reached = await self._tried(
                self._advance(group, position, min(position + step, ahead, *[f.upto for f in group]))
            )
            if reached is None:
                passed += 1
                continue
            passed += reached - position
            if ahead == MAX_POSITION:
                busy = reached - position == limit
            else:
                self._turns.took(reached - position, began, time.monotonic())
            ahead = reached
        return passed

    async def _tried(self, step: Awaitable[T]) -> T | None:
        """Return what came of it, None when a model has stopped."""
        try:
            return await step
        except StoppedError as stopped:
            await self._stop(stopped)
            return None

    async def _advance(self, group: list[ModelCursor], behind: int, upto: int) -> int:
        together = tuple(f.model.name for f in group)
        if together not in self._takers:
            self._takers[together] = subscriptions_of([f.model for f in group])
        taking = self._takers[together]
        rows = await log.read(self._connection, behind, upto, list(taking))
        position: int = rows[-1][0] if rows else behind
        if rows:
            folds = await self._tables.fold(group, rows, taking)
            async with self._connection.transaction():
                await self._tables.write(group, folds, position, rows[-1][6])
            # Only now: what is remembered is never ahead of what is committed.
            for follower in group:
                follower.position = position
                if (fold := folds.get(follower)) is not None:
                    follower.state = fold.state
                    follower.changed = fold.changed or follower.changed
        foremost = max((f.position for f in self.followers if f.place == "model"), default=MAX_POSITION)
        await self._serve(
            [
                f
                for f in group
                if f.place == "rebuild"
                and (position == f.upto if f.upto < MAX_POSITION else position < upto or position >= foremost)
            ]
        )
        return position

    async def _serve(self, rebuilt: list[ModelCursor]) -> None:
        """Have rebuilt tables served; try again a little later when somebody looks at the views for long."""
        if not rebuilt or time.monotonic() < self._swap_at:
            return
        try:
            swapped = await swaps.swap(self._connection, rebuilt)
        except asyncpg.LockNotAvailableError:
            self._swap_at = time.monotonic() + SWAP_RETRY_SECONDS
            logger.info("swap_delayed", models=[f.model.name for f in rebuilt], retry_in=SWAP_RETRY_SECONDS)
            return
        for new in swapped.served:
            name, model = new.model.name, new.model
            self.followers = [f for f in self.followers if f.model is not model]
            self._add(ModelCursor(model, "model", new.position, new.position, new.state))
            self.stopped.pop(name, None)
            logger.info("model_swapped", model=name, version=model.version, position=new.position)
        for new in swapped.behind:
            if new.position >= new.upto:
                await self._take_back(new, f"the served table has come to {swapped.positions[new.model.name]} by now")

    async def _take_back(self, follower: ModelCursor, error: str) -> None:
        await self._discard(follower.model)
        await swaps.ended(self._connection, follower.model.name, None, error)
        logger.error("rebuild_taken_back", model=follower.model.name, error=error)

    async def _stop(self, stopped: StoppedError) -> None:
        follower = stopped.follower
        name = follower.model.name
        message = f"{stopped}: {stopped.__cause__!r}"
        if follower.place == "rebuild" and await self._connection.fetchval(VERSION, name) == follower.model.version:
            # Nothing but the wish of somebody was to be had from it, and the table that is served is none the worse.
            await self._take_back(follower, message)
            return
        logger.error("model_stopped", model=name, error=message, exc_info=stopped.__cause__)
        await self._connection.execute(STOP, name, follower.place, message)
        if follower.place == "rebuild":
            await swaps.ended(self._connection, name, None, message)
        self.stopped[name] = message
        self.followers.remove(follower)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Advance until ``stop``; ``wake`` is set when the log has grown, and polling makes sure.

        Raises RewoundError when the log, and with it the tables, came back with older data: what is remembered here is
        of another log.
        """
        while not stop.is_set():
            wake.clear()
            if self.asked.is_set():
                await self.take_up()
            if await self.advance() == 0:
                self._end = await follow_end(self._connection, self._end)
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()
                except TimeoutError:
                    self.asked.set()
