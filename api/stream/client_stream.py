"""One client's way along the log: a tail of its own until it comes to what the live edge has kept, then that."""

import asyncio
from collections.abc import Callable

from api.stream import closing
from api.stream.live_buffer import Batch, LiveBuffer
from api.stream.messages import WHOLE_EVENT, Message, MessageId, messages_of
from api.stream.topics import TopicFilter
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.archives import ArchivedError
from services.log.continuity import RewoundError
from services.replay.subscription import RETRYABLE_ERRORS, RedactedError, Subscription

STEP = 1_000
"""Events that are folded for one who catches up before another one has its turn."""
RETRY_SECONDS = 0.5


class ClientStream:
    """What comes after ``begin``; with a ``tail`` (at the event before) it is folded until ``live`` has the rest.

    All there is to tell up to ``position`` has been handed over, and maybe a part of the next event.
    ``joined`` is called when the tail is no longer needed.
    """

    def __init__(
        self, pool: Pool, live: LiveBuffer, begin: MessageId, turn: asyncio.Lock, joined: Callable[[], None]
    ) -> None:
        self.position = max(0, begin[0] - (begin[1] != WHOLE_EVENT))
        self._pool = pool
        self._live = live
        self._begin = begin
        self._turn = turn
        self._joined = joined
        self._number = live.after(begin)
        self._waits_for: TopicFilter | None = None
        self.tail: Subscription | None = None

    async def next_batch(self, seconds: float, wanted: TopicFilter) -> Batch:
        """Return what comes next, wanted or not. Raises EndedError.

        That is at once, or when something wanted comes, or after so many seconds.
        """
        self.check()
        batch = await (self._listen(seconds, wanted) if self.tail is None else self._catch_up(self.tail))
        self.position = max(self.position, batch.position if batch.whole else batch.position - 1)
        return batch

    def check(self) -> None:
        """Raise EndedError if all streams have ended: what was handed over and is not sent yet must not be sent."""
        if self._live.ended is not None:
            raise self._live.ended

    def filter_changed(self) -> None:
        """Have what is wanted from now on looked at anew: `position` is where that is so."""
        if self._waits_for is not None:
            self._number, self.position = self._live.count, max(self.position, self._live.position)
            self._live.wake(self._waits_for)

    async def _listen(self, seconds: float, wanted: TopicFilter) -> Batch:
        live = self._live
        if self._number == live.count:
            self._waits_for = wanted
            number = await live.wait(wanted, seconds)
            self._number, self._waits_for = max(self._number, number), None
        batch = live.since(self._number)
        self._number += len(batch.messages)
        if batch.position < self._begin[0] or (batch.messages and batch.messages[0].place <= self._begin):
            # The client has been told more by another process than this one had read.
            rest = [message for message in batch.messages if message.place > self._begin]
            batch = Batch(rest, batch.position, batch.whole and batch.position >= self._begin[0])
        return batch

    async def _catch_up(self, tail: Subscription) -> Batch:
        found: list[Message] = []
        try:
            async with self._turn:
                async for event, changes in tail.read(self._pool, min(tail.position + STEP, self._live.position)):
                    found += messages_of(event, changes, tail.fold, self._live.catalog)
        except RETRYABLE_ERRORS as error:
            self._pool.outage.fail(error, path="/v1/events")
            await asyncio.sleep(RETRY_SECONDS)
        except RewoundError:
            raise closing.rewound() from None
        except RedactedError:
            raise closing.redacted() from None
        except ArchivedError as error:
            raise closing.archived(error) from None
        except FoldError as error:
            raise closing.broken(error) from error
        self.check()
        if self._live.covers((tail.position, WHOLE_EVENT)):
            self._number = self._live.after((tail.position, WHOLE_EVENT))
            self.tail = None
            self._joined()
        return Batch([message for message in found if message.place > self._begin], tail.position)
