"""Promises that hold while a fault lasts: the API answers, in time and in few bytes, and memory stays bounded.

An answer within five seconds is promised of the API, not of a busy machine. The time that the machine takes is measured
and added to the limit: how long the event loop of the API was ready to run without a processor (Linux counts that
in /proc/PID/schedstat), and the delay of this client's timers.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
from msgspec import Struct

from tests.chaos.reader import VIEWS
from tests.chaos.scene import Scene
from tests.e2e.ledger import BASIC

PROMISED_SECONDS = 5.0
PATIENCE_SECONDS = 300.0
"""After this long a request counts as never answered. A PostgreSQL that is slow, and not silent, may take its time."""
TICK_SECONDS = 0.05
METRICS_BYTES = 200_000
MEMORY_BYTES = {"listen": 300 << 20, "serve": 300 << 20}
"""Resident memory of a process at most. In a run without a difference both take less than 100 MB. A listener may hold
85 MB of a PBX's events on their way to the log, and 64 MB of answers of a link. An endless list that it kept would take
more than 300 MB."""
KEYS = itertools.count(1)


class Question(Struct, frozen=True):
    """A request and the answers that are no fault; ``timely``: within five seconds even when PostgreSQL is slow."""

    method: str
    path: str
    statuses: frozenset[int] = frozenset({200, 401, 503})
    timely: bool = False
    headers: dict[str, str] = {}


def questions() -> Sequence[Question]:
    """Return a view, the state of the processes, a login, and an act under a key: on a channel that is not there."""
    key = {"Idempotency-Key": f"promise-{next(KEYS)}"}
    return (
        Question("GET", VIEWS[0]),
        Question("GET", "/readyz", timely=True),
        Question("GET", "/metrics", timely=True),
        Question("POST", "/v1/admin/login", headers={"Authorization": f"Basic {BASIC}"}),
        Question("DELETE", f"{VIEWS[0]}/not-there", frozenset({401, 404, 503}), headers=key),
    )


class Delay:
    """How long the machine has kept the API's event loop and ours from running, since it was entered."""

    def __init__(self, scene: Scene) -> None:
        self._pid = scene.up.children().get("serve", 0)
        self._late = 0.0

    async def __aenter__(self) -> Self:
        self._before = _processor_delay(self._pid)
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()

    @property
    def seconds(self) -> float | None:
        """The sum of both; None when that API has ended, or was not there."""
        after = _processor_delay(self._pid)
        return None if after is None or self._before is None else after - self._before + self._late

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._late += max(0.0, time.monotonic() - due)


def _processor_delay(pid: int) -> float | None:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return None


async def answers(scene: Scene, during: str, *, postgresql_hangs: bool = False) -> None:
    """Note each request that gets no answer, a late one, or one that is a fault."""
    headers = dict(scene.ledger.client.headers)
    timeout = aiohttp.ClientTimeout(PATIENCE_SECONDS)
    async with (
        aiohttp.ClientSession(f"http://{scene.up.http}", headers=headers, timeout=timeout) as client,
        Delay(scene) as delay,
    ):
        requests = questions()
        broken = await asyncio.gather(*(_fault(client, one, delay, is_timed=postgresql_hangs) for one in requests))
    scene.broken += [f"{fault} while {during}" for fault in broken if fault]
    check_memory(scene, during)


async def _fault(client: aiohttp.ClientSession, question: Question, delay: Delay, *, is_timed: bool) -> str:
    """Ask, and return what is wrong with the answer; empty if nothing is."""
    name = f"{question.method} {question.path}"
    began = time.monotonic()
    try:
        async with client.request(question.method, question.path, headers=question.headers) as reply:
            body = await reply.read()
    except TimeoutError:
        return f"{name} was not answered within {PATIENCE_SECONDS:.0f} s"
    except (aiohttp.ClientError, OSError):
        return ""  # the fault before has ended the API; a client tries again
    took, late = time.monotonic() - began, delay.seconds
    if reply.status not in question.statuses:
        return f"{name} was answered {reply.status} {body[:200]!r}"
    if late is not None and (question.timely or is_timed) and took > PROMISED_SECONDS + late:
        return f"{name} was answered after {took:.1f} s (of which the machine took {late:.1f} s)"
    if question.path == "/metrics" and len(body) > METRICS_BYTES:
        return f"{name} was answered with {len(body)} bytes"
    return ""


def check_memory(scene: Scene, during: str) -> dict[str, int]:
    """Note each process that holds more than it may; return their megabytes."""
    children = scene.up.children()
    sizes: dict[str, int] = {name: _resident(children[name]) for name in MEMORY_BYTES.keys() & children.keys()}
    scene.broken += [
        f"`{name}` holds {size >> 20} MB while {during}" for name, size in sizes.items() if size > MEMORY_BYTES[name]
    ]
    return {name: size >> 20 for name, size in sorted(sizes.items())}


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


async def scrape(client: Any) -> dict[str, float]:
    """Return the samples of /metrics by their series. Raises aiohttp.ClientError."""
    async with client.get("/metrics") as reply:
        reply.raise_for_status()
        lines = (await reply.text()).splitlines()
    series = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in series}
