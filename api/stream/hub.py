"""All streams of a process: how many there may be, what they share, and where each one begins."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import structlog
from aiohttp import web

from api.http.errors import ApiError
from api.stream import closing
from api.stream.client_stream import ClientStream
from api.stream.live_buffer import LiveBuffer
from api.stream.messages import WHOLE_EVENT, MessageId
from api.stream.resources import StreamCatalog
from projections import ALL
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.continuity import RewoundError
from services.projector.checkpoints import Freshness, UnreadyError
from services.replay.as_of import AsOfReader, BrokenModelError, TooFarError
from services.replay.subscription import LogState, RedactedError, Subscription, archived_error, read_log_state

MAX_STREAMS = 1_000
MAX_CATCHING_UP = 8
"""So many may read what is no longer kept in memory; each of them has all rows for itself."""
REDACTION_WAIT_SECONDS = 20.0
"""How long who comes while the log is being redacted waits for the end of that."""
POLL_SECONDS = 0.25

logger = structlog.get_logger()

T = TypeVar("T")


class StreamHub:
    """Opens streams; the live edge is read as long as there is one."""

    def __init__(self, pool: Pool, freshness: Freshness, catalog: StreamCatalog) -> None:
        self.catalog = catalog
        self._pool = pool
        self._freshness = freshness
        self._as_of = AsOfReader([model for model in ALL if model.name in catalog.by_model])
        self._open = 0
        self._catching_up = 0
        self._turn = asyncio.Lock()
        self._edge: _SharedBuffer | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    @asynccontextmanager
    async def open(self, begin: MessageId | None) -> AsyncIterator[ClientStream]:
        """Open a stream of what comes after a place, or from now on.

        Raises ApiError 400 for a place that is not in the log yet and 503 where there are too many streams;
        ArchivedError and UnkeptError; UnreadyError.
        """
        if self._open >= MAX_STREAMS or self._stopping:
            raise _busy("too many streams")
        self._open += 1
        stream = None
        try:
            with _as_unready():
                stream = await self._begin(begin)
            yield stream
        finally:
            if stream is not None and stream.tail is not None:
                self._caught_up()
            self._open -= 1
            if self._open == 0 and self._edge is not None:
                self._edge.close()
                self._edge = None

    async def _begin(self, begin: MessageId | None) -> ClientStream:
        now = await self._clean()
        # Of an event of which not all has been read, the rest can only be had by folding it again.
        after = max(0, begin[0] - (begin[1] != WHOLE_EVENT)) if begin else now.head
        if begin and begin[0] > now.head:
            raise ApiError(400, f"last_event_id: there is no position {begin[0]}, the log ends at {now.head}")
        if after < now.archived_until:
            raise await archived_error(self._pool, after)
        live = await self._live()
        if live.redacted < now.redacted:
            # It will know in a moment, and what it has kept must not be told in that moment.
            live.end(closing.redacted())
            live = await self._live()
        try:
            await live.check()
        except RewoundError:
            live.end(closing.rewound())
            live = await self._live()
        place = begin or (live.position, WHOLE_EVENT)
        stream = ClientStream(self._pool, live, place, self._turn, self._caught_up)
        if not live.covers(place):
            if self._catching_up >= MAX_CATCHING_UP:
                raise _busy("too many streams begin far back")
            self._catching_up += 1
            try:
                async with self._turn:
                    stream.tail = await Subscription.open(self._pool, self._as_of, after)
            finally:
                if stream.tail is None:
                    self._caught_up()
        return stream

    async def _clean(self) -> LogState:
        """Return what is so now; while a redaction goes on saved states may hold what must not be told."""
        now = await read_log_state(self._pool)
        for _ in range(int(REDACTION_WAIT_SECONDS / POLL_SECONDS)):
            if not now.stale or self._stopping:
                break
            await asyncio.sleep(POLL_SECONDS)
            now = await read_log_state(self._pool)
        return now

    async def _live(self) -> LiveBuffer:
        """Return the live edge, opened if nobody else has it open."""
        if self._edge is None or self._edge.over:
            self._edge = _SharedBuffer(
                self.tasks, LiveBuffer.open(self._pool, self._as_of, self.catalog), self._freshness
            )
        opened = self._edge.opening
        try:
            return await asyncio.shield(opened)
        except asyncio.CancelledError:
            if not opened.cancelled():
                raise
            raise UnreadyError("this server stops") from None

    def _caught_up(self) -> None:
        self._catching_up -= 1

    def stop(self) -> None:
        """End all streams, so that the process can."""
        self._stopping = True
        if self._edge is not None and not self._edge.over:
            self._edge.close()


class _SharedBuffer:
    """A live edge that is being opened and then read on, by tasks of its own: who asked first may go away."""

    def __init__(
        self, tasks: set[asyncio.Task[Any]], opening: Coroutine[Any, Any, LiveBuffer], freshness: Freshness
    ) -> None:
        self._tasks = tasks
        self._freshness = freshness
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self.opening = self._held(asyncio.create_task(opening))
        self.opening.add_done_callback(self._opened)

    def _held(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _opened(self, opening: asyncio.Task[LiveBuffer]) -> None:
        if not opening.cancelled() and opening.exception() is None and not self._closed:
            self._running = self._held(asyncio.create_task(opening.result().run(self._freshness)))

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        opening = self.opening
        return opening.done() and (
            opening.cancelled() or opening.exception() is not None or opening.result().ended is not None
        )

    def close(self) -> None:
        """End it for all."""
        self._closed = True
        self.opening.cancel()
        if self._running is not None:
            self._running.cancel()
            self.opening.result().end(closing.stopping())


@contextmanager
def _as_unready() -> Iterator[None]:
    """Say what keeps a stream from beginning as it is said elsewhere."""
    try:
        yield
    except (RedactedError, RewoundError) as error:
        raise UnreadyError(f"{error}; try again") from None
    except TooFarError as error:
        raise UnreadyError(f"no state was saved near enough: {error}") from None
    except (BrokenModelError, FoldError) as error:
        logger.exception("events_stopped")
        raise UnreadyError(f"read model {error} cannot be folded") from None


def _busy(why: str) -> ApiError:
    return ApiError(503, why, "not-ready", {"Retry-After": "5"})


STREAMS = web.AppKey("streams", StreamHub)
