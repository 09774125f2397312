"""GET /metrics for Prometheus. Counts of the log come from PostgreSQL, counts of requests from this process.

Every label has a bounded number of values: names of events by `api.ops.log_counts`, routes by their template, the
rest by the settings and the models. The text is made in a thread, so that a large one delays no other request.
"""

import asyncio
from collections.abc import Iterable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.app_keys import CHECKPOINTS, POOL, SETTINGS
from api.http.auth import require_permission
from api.ops.listeners import ListenerStatus, listener_report
from api.ops.log_counts import LogCounts, count_log
from api.ops.request_metrics import REQUEST_METRICS
from services.database.errors import UNREACHABLE
from services.projector.checkpoints.watcher import CheckpointWatcher


async def metrics(request: web.Request) -> web.Response:
    """Return all metrics; without PostgreSQL, those of requests, the process and this machine's listeners."""
    checkpoints, pool = request.app[CHECKPOINTS], request.app[POOL]
    try:
        counts = await count_log(pool)
    except UNREACHABLE as error:
        pool.outage.fail(error, path=request.path)
        counts = None
    report = await listener_report(pool, request.app[SETTINGS].data, away=counts is None)
    families = [*_log(counts), *_models(checkpoints, counts), *_listeners(report.listeners)]
    body = await asyncio.to_thread(_text, families, request.app[REQUEST_METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


def _text(families: list[Metric], process: CollectorRegistry) -> bytes:
    ledger = CollectorRegistry()
    ledger.register(_Families(families))
    return generate_latest(ledger) + generate_latest(process)


class _Families(Collector):
    """Collects families that are complete already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _log(counts: LogCounts | None) -> Iterator[Metric]:
    yield GaugeMetricFamily("ringledger_database_up", "The same as ringledger_postgresql_up.", value=counts is not None)
    yield GaugeMetricFamily("ringledger_postgresql_up", "Whether PostgreSQL answered.", value=counts is not None)
    if counts is None:
        return
    yield GaugeMetricFamily("ringledger_log_position", "Position of the log's last event.", value=counts.reading.head)
    yield GaugeMetricFamily("ringledger_archives", "Months that were archived.", value=len(counts.catalog.archives))
    yield GaugeMetricFamily(
        "ringledger_archive_position", "Last archived position; the log begins after it.", value=counts.catalog.position
    )
    events = CounterMetricFamily("ringledger_events", "Events in the log.", labels=("pbx", "source", "name"))
    totals = CounterMetricFamily("ringledger_pbx_events", "Events in the log, of each PBX.", labels=("pbx",))
    of_pbx: dict[str, int] = {}
    for row in counts.names:
        events.add_metric((row["pbx"], row["source"], row["name"]), row["count"])
        of_pbx[row["pbx"]] = of_pbx.get(row["pbx"], 0) + row["count"]
    for pbx, count in of_pbx.items():
        totals.add_metric((pbx,), count)
    yield from (events, totals)
    links = GaugeMetricFamily("ringledger_link_up", "Whether the link to the PBX is up.", labels=("pbx",))
    complete = GaugeMetricFamily(
        "ringledger_pbx_complete", "Whether the views of the PBX are complete.", labels=("pbx",)
    )
    for pbx, link in counts.reading.links.items():
        links.add_metric((pbx,), link.state == "up")
        complete.add_metric((pbx,), link.complete)
    yield from (links, complete)
    gaps = CounterMetricFamily("ringledger_gaps", "Gaps: times without a link to the PBX.", labels=("pbx",))
    seconds = CounterMetricFamily("ringledger_gap_seconds", "Seconds of gaps.", labels=("pbx",))
    for row in counts.gaps:
        gaps.add_metric((row["pbx"],), row["count"])
        seconds.add_metric((row["pbx"],), row["seconds"])
    yield from (gaps, seconds)


def _models(checkpoints: CheckpointWatcher, counts: LogCounts | None) -> Iterator[Metric]:
    if counts is None:
        return
    reading = counts.reading
    position = GaugeMetricFamily(
        "ringledger_model_position", "Position up to which the model has folded.", labels=("model",)
    )
    events = GaugeMetricFamily(
        "ringledger_model_lag_events", "Events that the model has not folded yet.", labels=("model",)
    )
    seconds = GaugeMetricFamily(
        "ringledger_model_lag_seconds", "Age of the oldest of these events, at most.", labels=("model",)
    )
    stopped = GaugeMetricFamily("ringledger_model_stopped", "Whether an error stopped the model.", labels=("model",))
    unfit = CounterMetricFamily("ringledger_unfit_events", "Events that the model could not read.", labels=("model",))
    for name, checkpoint in sorted(reading.models.items()):
        position.add_metric((name,), checkpoint.position)
        events.add_metric((name,), reading.head - checkpoint.position)
        seconds.add_metric((name,), checkpoints.lag_ms((name,), reading) / 1000)
        stopped.add_metric((name,), checkpoint.error is not None)
    for row in counts.unfit:
        unfit.add_metric((row["model"],), row["count"])
    yield from (position, events, seconds, stopped, unfit)


def _listeners(statuses: list[ListenerStatus]) -> Iterator[Metric]:
    labels = ("pbx", "kind")
    gauges = (
        ("ringledger_listener_age_seconds", "Seconds since the last report of the listener.", lambda one: one.age),
        (
            "ringledger_listener_waiting_events",
            "Events in memory that are not in the log yet.",
            lambda one: one.waiting,
        ),
        ("ringledger_spool_events", "Events that wait on disk.", lambda one: one.spool.events),
        ("ringledger_spool_bytes", "Bytes that wait on disk.", lambda one: one.spool.bytes),
        (
            "ringledger_spool_limit_bytes",
            "Size of the spool at which the listener stops reading.",
            lambda one: one.spool.limit,
        ),
        ("ringledger_spool_failed", "Whether the spool cannot be written.", lambda one: bool(one.spool.error)),
    )
    for name, meaning, of in gauges:
        family = GaugeMetricFamily(name, meaning, labels=labels)
        for one in statuses:
            if one.holding:  # one for each PBX and kind; a standby has neither link nor spool
                family.add_metric((one.pbx, one.kind), of(one))
        yield family
    offset = GaugeMetricFamily(
        "ringledger_pbx_clock_offset_seconds",
        "Seconds that the PBX's clock is ahead of the listener's.",
        labels=("pbx",),
    )
    for one in statuses:
        if one.holding and one.clock_offset is not None:
            offset.add_metric((one.pbx,), one.clock_offset)
    yield offset


ROUTES = [web.get("/metrics", require_permission("admin", metrics))]
