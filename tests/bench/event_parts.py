"""The bench of streams: their delay, and their cost, that of idle streams included."""

import asyncio
import re
import time
from typing import Any

from tests.bench.http import Client
from tests.bench.pipeline import Pipeline, Played, pipeline
from tests.bench.report import Figure
from tests.bench.stage import BrokenError, Stage
from tests.bench.view_parts import latencies

STREAMS = 50
IDLE = 200
ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)


class Stream(asyncio.Protocol):
    """A client of server-sent events that costs next to nothing: it counts bytes, and may note when which id came."""

    def __init__(self, request: bytes, arrivals: list[tuple[float, int]] | None) -> None:
        self.size = 0
        self.response = asyncio.get_running_loop().create_future()
        self.over = False
        self._request = request
        self._arrivals = arrivals
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.response.done():
            self.response.set_result(data.split(b" ", 2)[1] == b"200")
        self.size += len(data)
        if self._arrivals is not None:
            whole, _, self._rest = (self._rest + data).rpartition(b"\n\n")
            if ids := ID.findall(whole):
                self._arrivals.append((time.time(), int(ids[-1])))

    def connection_lost(self, _error: Exception | None) -> None:
        self.over = True


async def _listen(running: Pipeline, token: str, number: int, topic: str) -> list[Stream]:
    """Open this number of streams; the first one, with all topics, records the times."""
    # HTTP/1.0: without chunks, the bytes are the messages.
    request = f"GET /v1/events?topic={topic}&authtoken={token} HTTP/1.0\r\nHost: bench\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    opened = []
    for one in range(number):
        arrivals = running.views if topic == "/" and one == 0 else None
        _, stream = await loop.create_connection(lambda a=arrivals: Stream(request, a), "127.0.0.1", running.port)  # type: ignore[misc]
        opened.append(stream)
    if not all([await stream.response for stream in opened]):
        raise BrokenError("/v1/events did not begin")
    return opened


async def _run(stage: Stage, streams: int, idle: int) -> tuple[Played, list[Stream]]:
    total, rate = 10_000, 2_000
    url = await stage.database("events")
    async with pipeline(stage, url, total, rate, "listen", "project", "serve") as running:
        client = await (await Client(running.port).open()).login()
        opened = await _listen(running, client.token, streams, "/")
        opened += await _listen(running, client.token, idle, "/agents")
        run = await running.play(total, rate)
        if any(stream.over for stream in opened):
            raise BrokenError("a stream has ended")
        client.close()
    await stage.drop("events")
    return run, opened


async def events(stage: Stage, _total: int, _rate: int) -> list[Figure]:
    """Measure the time from the wire to a stream, and the API's processor time."""
    bare, _ = await _run(stage, 0, 0)
    few, active = await _run(stage, STREAMS, 0)
    many, also = await _run(stage, STREAMS, IDLE)
    size = sum(stream.size for stream in active) / few.total / STREAMS
    sizes = [stream.size for stream in also[:STREAMS]]
    cost = {name: run.cpu["serve"] * 1e6 / run.total for name, run in (("bare", bare), ("few", few), ("many", many))}
    telling, idle = cost["few"] - cost["bare"], cost["many"] - cost["few"]
    return [
        Figure("events", f"wire to {STREAMS} streams at {few.rate:,} events/s, p50", _late(few, few.views, 50), "ms"),
        Figure("events", "wire to stream, p99", _late(few, few.views, 99), "ms", 100, at_most=True),
        Figure("events", "wire to tables, p99", _late(few, few.models, 99), "ms"),
        Figure(
            "events",
            f"with {IDLE} idle ones more, wire to stream, p99",
            _late(many, many.views, 99),
            "ms",
            100,
            at_most=True,
        ),
        Figure("events", "what one stream tells of an event", size, "bytes"),
        Figure("events", "least to most that a stream sizes", min(sizes) / max(sizes), "x", 0.95),
        Figure("processor", "serve without streams, for each event", cost["bare"], "us"),
        Figure("processor", f"{STREAMS} streams, for each event", telling, "us"),
        Figure("processor", f"{IDLE} idle streams, for each event", idle, "us"),
        Figure("processor", f"{IDLE} idle streams against {STREAMS} that tell", idle / telling, "x", 0.5, at_most=True),
        Figure("memory", f"serve, for {IDLE} idle streams", _memory(many) - _memory(few), "MB", 30, at_most=True),
    ]


def _late(run: Played, arrivals: list[tuple[float, int]], percent: int) -> float:
    late = sorted(latencies(run, arrivals))
    return late[len(late) * percent // 100] * 1000


def _memory(run: Played) -> float:
    return max(megabytes for _, megabytes in run.memory["serve"])
