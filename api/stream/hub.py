"""All streams of a process: their limits, their live buffer, and where each one starts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from aiohttp import web

from api.http.errors import ApiError
from api.stream import closing
from api.stream.client_stream import ClientStream
from api.stream.live_buffer import LiveBuffer
from api.stream.messages import LAST_NUMBER, MessageId
from api.stream.resources import StreamCatalog
from api.stream.shared_buffer import SharedBuffer
from projections import ALL
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.continuity import RewoundError
from services.projector.checkpoints.checkpoints import UnreadyError
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.replay.as_of import AsOfReader, BrokenModelError, TooFarError
from services.replay.subscription import LogState, RedactedError, Subscription, archived_error, read_log_state

MAX_STREAMS = 1_000
MAX_CATCHING_UP = 8
"""Streams that may start before the live buffer; each of them has all rows for itself."""
REDACTION_WAIT_SECONDS = 20.0
"""How long a new stream waits for the end of a redaction."""
POLL_SECONDS = 0.25

logger = structlog.get_logger()


class StreamHub:
    """Opens streams. The live buffer is read while there is at least one."""

    def __init__(self, pool: Pool, checkpoints: CheckpointWatcher, catalog: StreamCatalog) -> None:
        self.catalog = catalog
        self.tasks: set[asyncio.Task[Any]] = set()
        self._pool = pool
        self._checkpoints = checkpoints
        self._as_of = AsOfReader([model for model in ALL if model.name in catalog.by_model])
        self._open = 0
        self._catching_up = 0
        self._turn = asyncio.Lock()
        self._shared: SharedBuffer | None = None
        self._is_stopping = False

    @asynccontextmanager
    async def open(self, start: MessageId | None) -> AsyncIterator[ClientStream]:
        """Open a stream of the messages after an id, or from now on.

        Raises ApiError 400 for an id beyond the end of the log, and 503 at the limits; ArchivedError,
        NoInitialStateError and UnreadyError.
        """
        if self._open >= MAX_STREAMS or self._is_stopping:
            raise _busy("too many streams")
        self._open += 1
        stream = None
        try:
            with _as_unready():
                stream = await self._start(start)
            yield stream
        finally:
            if stream is not None and stream.subscription is not None:
                self._caught_up()
            self._open -= 1
            if self._open == 0 and self._shared is not None:
                self._shared.close()
                self._shared = None

    async def _start(self, start: MessageId | None) -> ClientStream:
        now = await self._unredacted()
        # The rest of an event of which a client has read some messages requires a fold of the whole event.
        after = max(0, start[0] - (start[1] != LAST_NUMBER)) if start else now.head
        if start and start[0] > now.head:
            raise ApiError(400, f"last_event_id: there is no position {start[0]}, the log ends at {now.head}")
        if after < now.archived_until:
            raise await archived_error(self._pool, after)
        live = await self._live()
        if live.redacted < now.redacted:
            # It reads of the redaction in a moment. Until then its messages may hold redacted values.
            live.close(closing.redacted())
            live = await self._live()
        try:
            await live.check()
        except RewoundError:
            live.close(closing.rewound())
            live = await self._live()
        first = start or (live.position, LAST_NUMBER)
        stream = ClientStream(self._pool, live, first, self._turn, self._caught_up)
        if not live.covers(first):
            if self._catching_up >= MAX_CATCHING_UP:
                raise _busy("too many streams begin far back")
            self._catching_up += 1
            try:
                async with self._turn:
                    stream.subscription = await Subscription.open(self._pool, self._as_of, after)
            finally:
                if stream.subscription is None:
                    self._caught_up()
        return stream

    async def _unredacted(self) -> LogState:
        """Return the state of the log, after a redaction: saved states may hold redacted values until its end."""
        now = await read_log_state(self._pool)
        for _ in range(int(REDACTION_WAIT_SECONDS / POLL_SECONDS)):
            if not now.stale or self._is_stopping:
                break
            await asyncio.sleep(POLL_SECONDS)
            now = await read_log_state(self._pool)
        return now

    async def _live(self) -> LiveBuffer:
        """Return the live buffer, opened if it is not open."""
        if self._shared is None or self._shared.is_over:
            opening = LiveBuffer.open(self._pool, self._as_of, self.catalog)
            self._shared = SharedBuffer(self.tasks, opening, self._checkpoints)
        return await self._shared.buffer()

    def _caught_up(self) -> None:
        self._catching_up -= 1

    def stop(self) -> None:
        """Close all streams, so that the process can end."""
        self._is_stopping = True
        if self._shared is not None and not self._shared.is_over:
            self._shared.close()


@contextmanager
def _as_unready() -> Iterator[None]:
    """Turn the errors that keep a stream from starting into those of the other routes."""
    try:
        yield
    except (RedactedError, RewoundError) as error:
        raise UnreadyError(f"{error}; try again") from None
    except TooFarError as error:
        raise UnreadyError(f"no state was saved near enough: {error}") from None
    except (BrokenModelError, FoldError) as error:
        logger.exception("events_stopped")
        raise UnreadyError(f"read model {error} cannot be folded") from None


def _busy(reason: str) -> ApiError:
    return ApiError(503, reason, "not-ready", {"Retry-After": "5"})


STREAMS = web.AppKey("streams", StreamHub)
