"""Each part of the bench, in the order in which they run."""

from collections.abc import Awaitable, Callable

from tests.bench.call_parts import calls, statistics
from tests.bench.event_parts import events
from tests.bench.evidence import evidence
from tests.bench.log_parts import append, ingest, parsing, verified
from tests.bench.model_parts import asof, beside, rebuild
from tests.bench.report import Figure
from tests.bench.view_parts import latency, load, view

Part = Callable[..., Awaitable[list[Figure]]]
"""Takes the stage, how many events, and how many of them a second; those of `SIZES` take ``count`` too."""
SIZES = {"calls": 10_000_000, "statistics": 3_000_000}
"""The number of rows that a part makes if it is named, and of which it makes a tenth if all parts run."""
LONG = {"calls": 3600}
"""The seconds that a part may take if it is named."""

PARTS: dict[str, Part] = {
    "parsing": parsing,
    "append": append,
    "ingest": ingest,
    "rebuild": rebuild,
    "beside": beside,
    "verify": verified,
    "view": view,
    "asof": asof,
    "latency": latency,
    "events": events,
    "calls": calls,
    "statistics": statistics,
    "load": load,
    "evidence": evidence,
}
