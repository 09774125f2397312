"""The bench measures correctly: it sends its events, misses lost ones, and detects late ones."""

import re
from pathlib import Path

from schemas.log import NewEvent
from services.database.embedded import Embedded
from tests.bench.pipeline import Played
from tests.bench.recording import one_round, played, sent_of
from tests.bench.report import Figure
from tests.bench.shared import received
from tests.bench.stage import Stage
from tests.bench.view_parts import growth, load


def test_each_round_has_new_times_and_channels() -> None:
    size = len(one_round())
    total = 2 * size + 500
    data = b"".join(piece for _, piece in played(total, 1_800_000_000, 333))
    got = received([data])
    assert len(got) == total
    names = [e.name for e in got]
    assert {name: names.count(name) for name in set(names)} == {n: c for n, c in sent_of(total).items() if c}
    channels = [_unique_id(e) for e in got if e.name == "Newchannel"]
    assert len(set(channels)) == len(channels) > 1600
    ended = {_unique_id(e) for e in got if e.name == "Hangup"}
    first = {_unique_id(e) for e in got[: 2 * size] if e.name == "Newchannel"}
    assert first <= ended  # whole rounds leave no call up
    assert not re.search(rb"17953098\d\d\.", data)


def _unique_id(event: NewEvent) -> bytes:
    match = re.search(rb"\r\nUniqueid: (\S+)", event.raw)
    assert match
    return match[1]


async def test_a_small_load_is_served_completely(server: Embedded, tmp_path: Path) -> None:
    figures = {f.what: f for f in await load(Stage(tmp_path, server), 2000, 1000)}
    assert figures["lost or doubled"].value == 0
    assert figures["models stopped"].value == 0
    assert figures["durable after it was due, at most"].value > 0
    assert figures["in the models, at most"].value >= figures["durable, median"].value > 0
    assert figures["listen, at most"].value > 10


def test_a_lost_event_is_counted() -> None:
    assert sent_of(len(one_round()))["Cdr"] == 400
    assert sent_of(0)["Cdr"] == 0
    assert Figure("load", "lost", 1, "events", 0, at_most=True).met is False
    assert Figure("ingest", "ratio", 0.39, "x", 0.4).met is False


def test_lag_is_that_of_the_oldest_event() -> None:
    run = Played(200, 100, 1000.0, 1002.0, 0, [], [], [], [], {}, {}, {})
    # One event each 10 ms. 50 arrive when the 50th is due, 100 more 2 s late, the rest on time.
    arrivals = [(1000.5, 50), (1003.5, 150), (1003.5, 150), (1003.5, 200)]
    lags = run.lags(arrivals)
    assert [(round(lag, 2), number) for lag, number in lags] == [(0.49, 50), (2.99, 100), (1.99, 50)]


def test_growth_ignores_memory_that_is_freed() -> None:
    positions = range(0, 900, 10)
    leaking = [(p, 50 + p / 10) for p in positions]
    steady = [(p, 80.0 if p % 70 == 0 else 50.0) for p in positions]
    assert growth(leaking, 900) > 25
    assert growth(steady, 900) == 0
