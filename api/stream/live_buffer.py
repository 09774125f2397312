"""The live buffer: one subscription for all streams of a process, and its newest messages.

Each stream reads the messages by itself, so there is no queue for each client. A client that falls behind reads older
messages; one that falls behind all of them is cut off. A slow client therefore delays no other client, and a thousand
clients need the memory of one.
"""

import asyncio
import contextlib
from bisect import bisect_right

import structlog

from api.stream import closing
from api.stream.closing import StreamClosed
from api.stream.messages import LAST_NUMBER, MessageBatch, MessageId, StreamMessage, messages_of
from api.stream.resources import StreamCatalog
from api.stream.topics import TopicFilter
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.archives import ArchivedError
from services.log.continuity import RewoundError
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.replay.as_of import AsOfReader
from services.replay.subscription import RETRYABLE_ERRORS, RedactedError, Subscription, read_log_state

MAX_MESSAGES = 32_768
MAX_BYTES = 32 << 20
BATCH_MESSAGES = 500
"""The most messages of a batch."""
TRIM_MESSAGES = 1_000
"""Dropped messages are removed from the list when it has more of them."""
START_EVENTS = 10_000
"""How far before the end of the log the buffer begins, for clients that return after a moment."""
WAKE_INTERVAL_SECONDS = 0.02
"""Waiting clients are woken at most fifty times a second, because that costs more than the messages."""
RETRY_SECONDS = 0.5

logger = structlog.get_logger()


class LiveBuffer:
    """The newest messages, from the first stream's start until the last one ends, or until ``closed`` is set for all.

    ``position`` is the position read last, ``redacted`` as in `Subscription`. All messages after the event at
    ``oldest`` are here; ``count`` is the number of messages so far.
    """

    def __init__(self, pool: Pool, subscription: Subscription, catalog: StreamCatalog) -> None:
        self.catalog = catalog
        self.position = self.oldest = subscription.position
        self.redacted = subscription.redacted
        self.count = 0
        self.closed: StreamClosed | None = None
        self._pool = pool
        self._subscription = subscription
        self._messages: list[StreamMessage] = []
        self._dropped = 0
        self._bytes = 0
        self._batches: dict[int, MessageBatch] = {}
        self._waiting: dict[TopicFilter, asyncio.Future[int]] = {}

    @classmethod
    async def open(cls, pool: Pool, as_of: AsOfReader, catalog: StreamCatalog) -> "LiveBuffer":
        """Begin a little before the end of the log. Raises what `Subscription.open` and `Subscription.read` raise."""
        now = await read_log_state(pool)
        start = max(now.archived_until, now.head - START_EVENTS)
        live = cls(pool, await Subscription.open(pool, as_of, start), catalog)
        await live._read(now.head)
        return live

    async def run(self, checkpoints: CheckpointWatcher) -> None:
        """Read until cancelled, through any outage of PostgreSQL, or until an error closes all streams."""
        try:
            while True:
                await checkpoints.wait_past(self.position)
                try:
                    if checkpoints.head <= self.position:
                        await self.check()
                    await self._read(checkpoints.head)
                except RETRYABLE_ERRORS as error:
                    self._pool.outage.fail(error, path="/v1/events")
                    await asyncio.sleep(RETRY_SECONDS)
                await asyncio.sleep(WAKE_INTERVAL_SECONDS)
        except RewoundError:
            self.close(closing.rewound())
        except RedactedError:
            self.close(closing.redacted())
        except ArchivedError as error:
            self.close(closing.archived(error))
        except FoldError as error:
            logger.exception("events_stopped")
            self.close(closing.broken(error))
        except Exception:
            logger.exception("events_failed")
            self.close(closing.failed())

    async def check(self) -> None:
        """Raise what `Subscription.check` raises: events that were read are no longer in the log."""
        await self._subscription.check(self._pool)

    async def _read(self, until: int) -> None:
        subscription = self._subscription
        async for event, changes in subscription.read(self._pool, until):
            self._put(messages_of(event, changes, subscription.fold, self.catalog))
        self.position = subscription.position
        self._batches.clear()

    def _put(self, messages: list[StreamMessage]) -> None:
        """Store the messages of one event, and drop those of the oldest events beyond the limits.

        An event that changes only a call without a person has none.
        """
        if not messages:
            return
        self._wake_matching(messages)
        self._batches.clear()
        self._messages += messages
        self._bytes += sum(len(message.content) for message in messages)
        self.count += len(messages)
        self.position = messages[-1].message_id[0]
        while len(self._messages) - self._dropped > MAX_MESSAGES or self._bytes > MAX_BYTES:
            self._drop_event()
        if self._dropped > TRIM_MESSAGES:
            del self._messages[: self._dropped]
            self._dropped = 0

    def _drop_event(self) -> None:
        self.oldest = self._messages[self._dropped].message_id[0]
        while self._dropped < len(self._messages) and self._messages[self._dropped].message_id[0] == self.oldest:
            self._bytes -= len(self._messages[self._dropped].content)
            self._dropped += 1

    def _wake_matching(self, messages: list[StreamMessage]) -> None:
        for topics, waiting in list(self._waiting.items()):
            for number, message in enumerate(messages, self.count):
                if topics.matches(message.topic, message.pbx):
                    self._wake(topics, waiting, number)
                    break

    def _wake(self, topics: TopicFilter, waiting: asyncio.Future[int], number: int) -> None:
        del self._waiting[topics]
        if not waiting.done():
            waiting.set_result(number)

    def covers(self, message_id: MessageId) -> bool:
        """Return whether all messages after an id are here."""
        return message_id >= (self.oldest, LAST_NUMBER)

    def after(self, message_id: MessageId) -> int:
        """Return the number of the first message after an id, which may be that of the next message to come."""
        messages = self._messages
        first = self.count - len(messages)
        return first + bisect_right(messages, message_id, lo=self._dropped, key=lambda message: message.message_id)

    def since(self, number: int) -> MessageBatch:
        """Return messages from this number on, the same batch to all streams. Raises StreamClosed if it was dropped.

        Its ``position`` is that of the last message; if no more follow, it is the position read last.
        """
        begin = number - self.count + len(self._messages)
        if self.closed is not None or begin < self._dropped:
            raise self.closed or closing.slow()
        batch = self._batches.get(number)
        if batch is None:
            end = begin + BATCH_MESSAGES
            messages = self._messages[begin:end]
            position, part = (self.position, LAST_NUMBER) if end >= len(self._messages) else messages[-1].message_id
            batch = self._batches[number] = MessageBatch(messages, position, part == LAST_NUMBER)
        return batch

    async def wait(self, topics: TopicFilter, seconds: float) -> int:
        """Wait for a message that ``topics`` match; return its number, or after a time that of the next to come.

        Streams with equal filters wait together, so that a message is compared once for all of them.
        """
        waiting = self._waiting.get(topics)
        if waiting is None:
            waiting = self._waiting[topics] = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.shield(waiting)
        return waiting.result() if waiting.done() else self.count

    def wake(self, topics: TopicFilter) -> None:
        """End the wait for these topics."""
        waiting = self._waiting.get(topics)
        if waiting is not None:
            self._wake(topics, waiting, self.count)

    def close(self, reason: StreamClosed) -> None:
        """Close all streams; messages that they have not read yet are dropped."""
        self.closed = reason
        self._messages.clear()
        self._batches.clear()
        self._dropped = 0
        for topics in list(self._waiting):
            self.wake(topics)
