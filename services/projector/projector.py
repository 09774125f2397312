"""Folds the log into the read models: rows and checkpoint in one transaction, so each event counts exactly once."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import asyncpg

from projections.engine.machine_fold import MachineFold
from projections.engine.model import ReadModel
from projections.engine.subscriptions import Subscriptions, subscriptions_of
from schemas.log import MAX_POSITION
from services.log.continuity import EMPTY_LOG, follow_end
from services.projector.batch import BatchWriter
from services.projector.catch_up import CatchUpBudget
from services.projector.cursor import ModelCursor, StoppedError
from services.projector.cursor_set import CursorSet
from services.projector.read_ahead import ReadAhead
from services.runtime.tasks import wait_event

BATCH_EVENTS = 5000
POLL_SECONDS = 1.0

T = TypeVar("T")


class Projector(CursorSet):
    """Advances models along the log.

    Models at the same position go together: one read, one decoding, one transaction. While all models are there, the
    next batch is read ahead over ``reader``, if there is one.
    """

    def __init__(
        self,
        connection: asyncpg.Connection,
        models: Sequence[ReadModel],
        until: Mapping[str, int] | None = None,
        writer: BatchWriter | None = None,
        reader: asyncpg.Connection | None = None,
    ) -> None:
        super().__init__(connection, models, until)
        self._writer = writer or BatchWriter(connection)
        self.events = ReadAhead(connection, reader)
        self._subscriptions: dict[tuple[str, ...], Subscriptions] = {}
        self._budget = CatchUpBudget()
        self._end = EMPTY_LOG

    async def open(self) -> None:
        """Read the end of the log, the checkpoints and the rebuild requests, and create missing tables.

        Raises IncompatibleError.
        """
        self._end = await follow_end(self._connection, EMPTY_LOG)
        await self.events.open()
        await super().open()

    async def close(self) -> None:
        """End what is read ahead; the caller closes the connections."""
        await self.events.close()

    async def advance(self, limit: int = BATCH_EVENTS) -> int:
        """Advance every group of models by one batch of up to ``limit`` events; return 0 when all are at the end.

        The foremost group goes first, so that those behind can reach it. Groups behind take short steps, because the
        foremost group waits for them.
        """
        total = 0
        ahead, busy = MAX_POSITION, False
        await self._stop_on_error(
            self._serve([c for c in self.cursors if c.schema == "rebuild" and c.position >= c.until])
        )
        for position in sorted({c.position for c in self.cursors if c.position < c.until}, reverse=True):
            group = [c for c in self.cursors if c.position == position < c.until]
            began = time.monotonic()
            step = limit if ahead == MAX_POSITION else self._budget.step(limit, began, busy=busy)
            if step == 0:
                break
            reached = await self._stop_on_error(
                self._advance(group, position, min(position + step, ahead, *[c.until for c in group]))
            )
            if reached is None:
                total += 1
                continue
            total += reached - position
            if ahead == MAX_POSITION:
                busy = reached - position == limit
            else:
                self._budget.record(reached - position, began, time.monotonic())
            ahead = reached
        return total

    async def _stop_on_error(self, step: Awaitable[T]) -> T | None:
        """Return the result of ``step``, or None after stopping the model that failed."""
        try:
            return await step
        except StoppedError as stopped:
            await self._stop(stopped)
            return None

    async def _advance(self, group: list[ModelCursor], behind: int, until: int) -> int:
        together = tuple(c.model.name for c in group)
        if together not in self._subscriptions:
            self._subscriptions[together] = subscriptions_of([c.model for c in group])
        subscriptions = self._subscriptions[together]
        names = list(subscriptions)
        rows = await self.events.read(behind, until, names)
        position: int = rows[-1][0] if rows else behind
        if rows:
            if position == until and len(group) == len(self.cursors):
                self.events.start(until, min(2 * until - behind, *[c.until for c in group]), names)
            folds = await self._writer.advance(group, rows, subscriptions, self.events.fetch_beside)
            # Only now: the cursors are never ahead of what is committed.
            for cursor in group:
                cursor.position = position
                if (fold := folds.get(cursor)) is not None:
                    cursor.state = fold.state
                    cursor.changed = fold.changed or cursor.changed
                    cursor.recent = {key: fold.rows.get(key) for key in fold.loaded}
                    if isinstance(fold, MachineFold):
                        cursor.opened = fold.release()
        foremost = max((c.position for c in self.cursors if c.schema == "model"), default=MAX_POSITION)
        await self._serve(
            [
                c
                for c in group
                if c.schema == "rebuild"
                and (position == c.until if c.until < MAX_POSITION else position < until or position >= foremost)
            ]
        )
        return position

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Advance until ``stop``. ``wake`` is set when the log has grown; polling covers lost notifications.

        Raises RewoundError when the log and the tables were restored with older data, so that the cursors are of
        another log.
        """
        while not stop.is_set():
            wake.clear()
            if self.is_requested.is_set():
                await self.start_requested()
            if await self.advance() == 0:
                self._end = await follow_end(self._connection, self._end)
                if not await wait_event(wake, POLL_SECONDS):
                    self.is_requested.set()
