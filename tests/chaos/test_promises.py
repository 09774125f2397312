"""Late, wrong and oversized responses of an API are recorded."""

import os
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.chaos import promises
from tests.chaos.promises import answers

ALWAYS_LATE = -1e9
NEVER_LATE = 1e9


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimpleNamespace]:
    """A scene whose API, in this process, gives the ``status`` and ``body`` of the test to every request."""
    # The memory of this process is that of all tests before.
    monkeypatch.setitem(promises.MEMORY_BYTES, "serve", 1 << 40)
    scene = SimpleNamespace(status=200, body="", broken=[])

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=scene.status, text=scene.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        scene.up = SimpleNamespace(http=f"127.0.0.1:{server.port}", children=lambda: {"serve": os.getpid()})
        scene.ledger = SimpleNamespace(client=SimpleNamespace(headers={}))
        yield scene


async def find_faults(
    scene: Any, monkeypatch: pytest.MonkeyPatch, *, seconds: float = NEVER_LATE, hangs: bool = False
) -> str:
    monkeypatch.setattr(promises, "PROMISED_SECONDS", seconds)
    await answers(scene, "a test lasts", postgresql_hangs=hangs)
    return "\n".join(scene.broken)


async def test_refusals_in_time_are_no_fault(api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    api.status = 503
    assert await find_faults(api, monkeypatch, hangs=True) == ""


async def test_late_answers_are_faults_while_postgresql_hangs(
    api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.status = 503
    late = await find_faults(api, monkeypatch, seconds=ALWAYS_LATE, hangs=True)
    assert late.count("was answered after") == len(promises.questions())


async def test_metrics_and_readiness_are_never_late(api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    api.status = 503
    late = await find_faults(api, monkeypatch, seconds=ALWAYS_LATE)
    assert sorted(line.split()[1] for line in late.splitlines()) == ["/metrics", "/readyz"]


async def test_errors_are_faults(api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    api.status = 500
    assert (await find_faults(api, monkeypatch)).count("was answered 500") == len(promises.questions())


async def test_long_metrics_are_a_fault(api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "METRICS_BYTES", 10)
    api.status, api.body = 503, "x" * 11
    assert "GET /metrics was answered with 11 bytes" in await find_faults(api, monkeypatch)


async def test_memory_above_the_bound_is_a_fault(api: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    api.status = 503
    monkeypatch.setitem(promises.MEMORY_BYTES, "serve", 1 << 20)
    assert "`serve` holds" in await find_faults(api, monkeypatch)
