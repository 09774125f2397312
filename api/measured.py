"""How many requests there were and how long they took, by route, method and status."""

import time

from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from api.errors import Handler

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Measures(Struct, frozen=True):
    """What this process counts; ``registry`` holds that, and its own CPU and memory."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram


def measures() -> Measures:
    """Make them for one application."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return Measures(
        registry,
        Counter(
            "ringledger_http_requests",
            "Requests answered, by route.",
            ("route", "method", "status"),
            registry=registry,
        ),
        Histogram(
            "ringledger_http_request_seconds",
            "From a request to the end of its answer, by route; long polls (wait=) are not in it.",
            ("route",),
            buckets=BUCKETS,
            registry=registry,
        ),
    )


MEASURES = web.AppKey("measures", Measures)


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and time the request. Its route is the template, so that nobody's requests make new series."""
    began = time.perf_counter()
    response = await handler(request)
    found = request.app[MEASURES]
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    found.requests.labels(route, request.method, str(response.status)).inc()
    if "wait" not in request.query:
        found.seconds.labels(route).observe(time.perf_counter() - began)
    return response
