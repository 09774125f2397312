"""The live edge: one tail for all streams of a process, and the newest messages, which each stream reads for itself.

There is no queue for each reader: who is behind reads older messages of the same list, and who is behind all of it is
cut off. So a slow reader costs nobody anything, and a thousand readers need the memory of one.
"""

import asyncio
import contextlib
from bisect import bisect_right

import structlog
from msgspec import Struct, field

from api.stream import closing
from api.stream.closing import StreamClosedError
from api.stream.messages import WHOLE_EVENT, Message, MessageId, messages_of
from api.stream.resources import StreamCatalog
from api.stream.topics import TopicFilter
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.archives import ArchivedError
from services.log.continuity import RewoundError
from services.projector.checkpoints import Freshness
from services.replay.as_of import AsOfReader
from services.replay.subscription import RETRYABLE_ERRORS, RedactedError, Subscription, read_log_state

MAX_MESSAGES = 32_768
MAX_BYTES = 32 << 20
BATCH_MESSAGES = 500
"""Messages that are handed over at once."""
TRIM_MESSAGES = 1_000
"""So many that are no longer kept are let go of at once."""
START_EVENTS = 10_000
"""So many events before the end it begins: who comes back after a moment finds what it missed here."""
WAKE_INTERVAL_SECONDS = 0.02
"""At most fifty times a second all who want what has come are woken: that costs more than what they are told."""
RETRY_SECONDS = 0.5

logger = structlog.get_logger()


class Batch(Struct):
    """What comes next; ``position`` is how far that is, with all there is to tell up to there if ``whole``.

    ``encoded`` is what was written of it for those who want the same: nobody need write it again.
    """

    messages: list[Message]
    position: int
    whole: bool = True
    encoded: dict[TopicFilter, list[bytes]] = field(default_factory=dict)


class LiveBuffer:
    """From the first listener's coming until the last one goes, or something ends it for all (``ended`` says what).

    ``position`` is how far it has read, ``redacted`` as in `Subscription`. All messages after the event at ``oldest``
    are still there; ``count`` is how many there have been.
    """

    def __init__(self, pool: Pool, tail: Subscription, catalog: StreamCatalog) -> None:
        self.catalog = catalog
        self.position = self.oldest = tail.position
        self.redacted = tail.redacted
        self.count = 0
        self.ended: StreamClosedError | None = None
        self._pool = pool
        self._tail = tail
        self._kept: list[Message] = []
        self._gone = 0
        self._bytes = 0
        self._batches: dict[int, Batch] = {}
        self._waiting: dict[TopicFilter, asyncio.Future[int]] = {}

    @classmethod
    async def open(cls, pool: Pool, as_of: AsOfReader, catalog: StreamCatalog) -> "LiveBuffer":
        """Begin a little before the end of the log. Raises what `Subscription.open` and `Subscription.read` do."""
        now = await read_log_state(pool)
        live = cls(
            pool, await Subscription.open(pool, as_of, max(now.archived_until, now.head - START_EVENTS)), catalog
        )
        await live._read(now.head)
        return live

    async def run(self, freshness: Freshness) -> None:
        """Read on until cancelled, through any absence of PostgreSQL, or until there is a reason to end all streams."""
        try:
            while True:
                await freshness.grows(self.position)
                try:
                    if freshness.head <= self.position:
                        await self.check()
                    await self._read(freshness.head)
                except RETRYABLE_ERRORS as error:
                    self._pool.outage.fail(error, path="/v1/events")
                    await asyncio.sleep(RETRY_SECONDS)
                await asyncio.sleep(WAKE_INTERVAL_SECONDS)
        except RewoundError:
            self.end(closing.rewound())
        except RedactedError:
            self.end(closing.redacted())
        except ArchivedError as error:
            self.end(closing.archived(error))
        except FoldError as error:
            logger.exception("events_stopped")
            self.end(closing.broken(error))
        except Exception:
            logger.exception("events_failed")
            self.end(closing.failed())

    async def check(self) -> None:
        """Raise what `Subscription.check` raises: what has been read is not in the log any more."""
        await self._tail.check(self._pool)

    async def _read(self, upto: int) -> None:
        tail = self._tail
        async for event, changes in tail.read(self._pool, upto):
            self._put(messages_of(event, changes, tail.fold, self.catalog))
        self.position = tail.position
        self._batches.clear()

    def _put(self, told: list[Message]) -> None:
        """Keep what one event has to tell, and forget the oldest events where it becomes too much."""
        self._tell(told)
        self._batches.clear()
        self._kept += told
        self._bytes += sum(len(message.data) for message in told)
        self.count += len(told)
        self.position = told[-1].place[0]
        while len(self._kept) - self._gone > MAX_MESSAGES or self._bytes > MAX_BYTES:
            self.oldest = self._kept[self._gone].place[0]
            while self._gone < len(self._kept) and self._kept[self._gone].place[0] == self.oldest:
                self._bytes -= len(self._kept[self._gone].data)
                self._gone += 1
        if self._gone > TRIM_MESSAGES:
            del self._kept[: self._gone]
            self._gone = 0

    def _tell(self, told: list[Message]) -> None:
        for wanted, waiting in list(self._waiting.items()):
            for number, message in enumerate(told, self.count):
                if wanted.matches(message.topic, message.pbx):
                    self._wake(wanted, waiting, number)
                    break

    def _wake(self, wanted: TopicFilter, waiting: asyncio.Future[int], number: int) -> None:
        del self._waiting[wanted]
        if not waiting.done():
            waiting.set_result(number)

    def covers(self, place: MessageId) -> bool:
        """Tell whether all that comes after is here."""
        return place >= (self.oldest, WHOLE_EVENT)

    def after(self, place: MessageId) -> int:
        """Return the number of the first message after a place; the next one to come if there is none yet."""
        kept = self._kept
        return self.count - len(kept) + bisect_right(kept, place, lo=self._gone, key=lambda message: message.place)

    def since(self, number: int) -> Batch:
        """Return messages from this number on, the same batch to all who ask. Raises EndedError if it is gone, or all.

        Its ``position`` is that of the last message, or how far all has been read if there are no more.
        """
        begin = number - self.count + len(self._kept)
        if self.ended is not None or begin < self._gone:
            raise self.ended or closing.slow()
        batch = self._batches.get(number)
        if batch is None:
            found = self._kept[begin : begin + BATCH_MESSAGES]
            position, place = (
                (self.position, WHOLE_EVENT) if begin + BATCH_MESSAGES >= len(self._kept) else found[-1].place
            )
            batch = self._batches[number] = Batch(found, position, place == WHOLE_EVENT)
        return batch

    async def wait(self, wanted: TopicFilter, seconds: float) -> int:
        """Wait until there is something wanted, so long at most; return its number, or that of the next to come.

        Those who want the same wait together, so that what nobody of them wants costs one look.
        """
        waiting = self._waiting.get(wanted)
        if waiting is None:
            waiting = self._waiting[wanted] = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.shield(waiting)
        return waiting.result() if waiting.done() else self.count

    def wake(self, wanted: TopicFilter) -> None:
        """Let those who wait for this wait no longer."""
        waiting = self._waiting.get(wanted)
        if waiting is not None:
            self._wake(wanted, waiting, self.count)

    def end(self, reason: StreamClosedError) -> None:
        """End all streams; what they have not read yet they do not get."""
        self.ended = reason
        self._kept.clear()
        self._batches.clear()
        self._gone = 0
        for wanted in list(self._waiting):
            self.wake(wanted)
