"""The live buffer while it is opened and read, by tasks of its own: the client that came first may leave."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from api.stream import closing
from api.stream.live_buffer import LiveBuffer
from services.projector.checkpoints.checkpoints import UnreadyError
from services.projector.checkpoints.watcher import CheckpointWatcher

T = TypeVar("T")


class SharedBuffer:
    """A live buffer of all streams; its tasks are in ``tasks`` until they end."""

    def __init__(
        self, tasks: set[asyncio.Task[Any]], opening: Coroutine[Any, Any, LiveBuffer], checkpoints: CheckpointWatcher
    ) -> None:
        self._tasks = tasks
        self._checkpoints = checkpoints
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False
        self.opening = self._track(asyncio.create_task(opening))
        self.opening.add_done_callback(self._run)

    async def buffer(self) -> LiveBuffer:
        """Return the buffer when it is open. Raises its error, or UnreadyError if the server stops."""
        try:
            return await asyncio.shield(self.opening)
        except asyncio.CancelledError:
            if not self.opening.cancelled():
                raise
            raise UnreadyError("this server stops") from None

    @property
    def is_over(self) -> bool:
        """Whether it could not be opened, or is closed."""
        opening = self.opening
        return opening.done() and (
            opening.cancelled() or opening.exception() is not None or opening.result().closed is not None
        )

    def close(self) -> None:
        """Close all its streams."""
        self._is_closed = True
        self.opening.cancel()
        if self._running is not None:
            self._running.cancel()
            self.opening.result().close(closing.stopping())

    def _track(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _run(self, opening: asyncio.Task[LiveBuffer]) -> None:
        if not opening.cancelled() and opening.exception() is None and not self._is_closed:
            self._running = self._track(asyncio.create_task(opening.result().run(self._checkpoints)))
