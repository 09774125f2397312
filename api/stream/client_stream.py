"""The stream of one client: a subscription of its own until it reaches the live buffer, and then the buffer."""

import asyncio
from collections.abc import Callable

from api.stream import closing
from api.stream.live_buffer import LiveBuffer
from api.stream.messages import LAST_NUMBER, MessageBatch, MessageId, StreamMessage, messages_of
from api.stream.topics import TopicFilter
from projections.engine.step import FoldError
from services.database.pool import Pool
from services.log.archives import ArchivedError
from services.log.continuity import RewoundError
from services.replay.subscription import RETRYABLE_ERRORS, RedactedError, Subscription

STEP_EVENTS = 1_000
"""Events that one catching-up client folds before the next one has its turn."""
RETRY_SECONDS = 0.5


class ClientStream:
    """The messages after the id ``start``.

    With a ``subscription`` the events are folded for this client, until ``live`` has the rest. ``position`` is the
    position up to which all messages were returned; some of the next event may have been returned too. ``on_caught_up``
    is called when the subscription ends.
    """

    def __init__(
        self, pool: Pool, live: LiveBuffer, start: MessageId, turn: asyncio.Lock, on_caught_up: Callable[[], None]
    ) -> None:
        self.position = max(0, start[0] - (start[1] != LAST_NUMBER))
        self._pool = pool
        self._live = live
        self._start = start
        self._turn = turn
        self._on_caught_up = on_caught_up
        self._number = live.after(start)
        self._waits_for: TopicFilter | None = None
        self.subscription: Subscription | None = None

    async def next_batch(self, seconds: float, topics: TopicFilter) -> MessageBatch:
        """Return the next messages, of all topics. Raises StreamClosed.

        They are returned at once if there are any; else with the first one that ``topics`` match, or after a time.
        """
        self.check()
        if self.subscription is None:
            batch = await self._listen(seconds, topics)
        else:
            batch = await self._catch_up(self.subscription)
        self.position = max(self.position, batch.position if batch.is_whole else batch.position - 1)
        return batch

    def check(self) -> None:
        """Raise StreamClosed if all streams have ended: messages that are not sent yet must not be sent then."""
        if self._live.closed is not None:
            raise self._live.closed

    def filter_changed(self) -> None:
        """End a wait under the former topics. The new ones apply after `position`."""
        if self._waits_for is not None:
            self._number, self.position = self._live.count, max(self.position, self._live.position)
            self._live.wake(self._waits_for)

    async def _listen(self, seconds: float, topics: TopicFilter) -> MessageBatch:
        live = self._live
        if self._number == live.count:
            self._waits_for = topics
            number = await live.wait(topics, seconds)
            self._number, self._waits_for = max(self._number, number), None
        batch = live.since(self._number)
        self._number += len(batch.messages)
        if batch.position < self._start[0] or (batch.messages and batch.messages[0].message_id <= self._start):
            # Another process has sent the client more than this one had read.
            rest = [message for message in batch.messages if message.message_id > self._start]
            batch = MessageBatch(rest, batch.position, batch.is_whole and batch.position >= self._start[0])
        return batch

    async def _catch_up(self, subscription: Subscription) -> MessageBatch:
        messages: list[StreamMessage] = []
        try:
            async with self._turn:
                until = min(subscription.position + STEP_EVENTS, self._live.position)
                async for event, changes in subscription.read(self._pool, until):
                    messages += messages_of(event, changes, subscription.fold, self._live.catalog)
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
        if self._live.covers((subscription.position, LAST_NUMBER)):
            self._number = self._live.after((subscription.position, LAST_NUMBER))
            self.subscription = None
            self._on_caught_up()
        rest = [message for message in messages if message.message_id > self._start]
        return MessageBatch(rest, subscription.position)
