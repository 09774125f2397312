"""The queues for costly reads of one API process, and their metrics."""

from collections.abc import Iterator

from aiohttp import web
from msgspec import Struct, field
from msgspec.structs import asdict
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.accounts.fair_queue import FairQueue

USER_PLACES = 16
MAX_PLACES = 64


def _queue() -> FairQueue:
    # One turn at a time: each takes a processor and one of the pool's connections, which views need too.
    return FairQueue(slots=1, share=USER_PLACES, places=MAX_PLACES)


class Queues(Struct, frozen=True):
    """One queue for each kind of costly read."""

    as_of: FairQueue = field(default_factory=_queue)
    explain: FairQueue = field(default_factory=_queue)
    search: FairQueue = field(default_factory=_queue)

    def stop(self) -> None:
        """Refuse all waiting and new requests, so that the process can end."""
        for queue in asdict(self).values():
            queue.stop()


QUEUES = web.AppKey("queues", Queues)


class QueueMetrics(Collector):
    """Collects the length and the refusals of each queue."""

    def __init__(self, queues: Queues) -> None:
        self._queues: dict[str, FairQueue] = asdict(queues)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        requests = GaugeMetricFamily(
            "ringledger_queue_requests", "Costly reads under way, with and without a turn.", labels=("queue",)
        )
        waiting = GaugeMetricFamily("ringledger_queue_waiting", "Costly reads that wait for a turn.", labels=("queue",))
        refused = CounterMetricFamily(
            "ringledger_queue_refused", "Costly reads that were refused with 503.", labels=("queue",)
        )
        for name, queue in self._queues.items():
            requests.add_metric((name,), queue.admitted)
            waiting.add_metric((name,), queue.waiting)
            refused.add_metric((name,), queue.refused)
        yield from (requests, waiting, refused)
