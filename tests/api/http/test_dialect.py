"""An error has the dialect of the matched route; without a route, that of the longest mount."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application

from api.http.auth import identify
from api.http.dialect import DIALECTS, Dialect, Dialects, dialect_of
from api.http.errors import ApiError, Problem
from api.http.finishing import drain_writes, finish_writes
from api.http.middleware import render_errors
from api.http.operation import Operation

Client = TestClient[web.Request, Application]


async def fail(_request: web.Request) -> web.Response:
    raise ApiError(418, "no")


async def answer(request: web.Request) -> web.Response:
    return web.Response(text=f"{dialect_of(request).name} {request.query.get('action', '')}")


def dialect(name: str, mount: str, *operations: Operation) -> Dialect:
    def failure(problem: Problem) -> web.Response:
        return web.Response(status=problem.status, text=name)

    return Dialect(name, mount, identify, failure, str, operations)


class Slow:
    """A GET that writes, and waits for the test before it ends."""

    def __init__(self) -> None:
        self.has_begun, self.may_end, self.has_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write(self, _request: web.Request) -> web.Response:
        self.has_begun.set()
        await self.may_end.wait()
        self.has_ended.set()
        return web.Response()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def client(slow: Slow) -> AsyncIterator[Client]:
    house = dialect(
        *("house", ""),
        Operation("house.a", "GET", ("/a", "/v1/a"), answer, ""),
        Operation("house.b", "POST", ("/other/house",), fail, ""),
    )
    other = dialect(
        *("other", "/other/"),
        Operation("other.fail", "GET", ("/other/fail", "/fail"), fail, ""),
        Operation("other.on", "GET", ("/other/do",), answer, "", where={"action": "on"}, writes=True),
        Operation("other.off", "GET", ("/other/do",), answer, "", where={"action": "off"}, writes=True),
        Operation("other.slow", "GET", ("/other/slow",), slow.write, "", writes=True),
    )
    app = web.Application(middlewares=[finish_writes, render_errors])
    app[DIALECTS] = dialects = Dialects([house, other])
    dialects.add_routes(app.router)
    app.cleanup_ctx.append(drain_writes)
    client: Client = TestClient(TestServer(app, handler_cancellation=True))
    await client.start_server()
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/a", 200, "house "),
        ("GET", "/v1/a", 200, "house "),
        ("GET", "/fail", 418, "other"),
        ("GET", "/other/fail", 418, "other"),
        ("POST", "/other/house", 418, "house"),
        ("GET", "/other/nothing", 404, "other"),
        ("GET", "/nothing", 404, "house"),
        ("DELETE", "/other/fail", 405, "other"),
        ("GET", "/other/do?action=on", 200, "other on"),
        ("GET", "/other/do?action=off", 200, "other off"),
        ("GET", "/other/do?action=x", 404, "other"),
        ("GET", "/other/do", 404, "other"),
        ("HEAD", "/a", 200, ""),
        ("HEAD", "/other/do?action=on", 405, ""),
    ],
)
async def test_the_route_selects_the_dialect(client: Client, method: str, path: str, status: int, text: str) -> None:
    reply = await client.request(method, path)
    assert (reply.status, await reply.text()) == (status, text)


async def test_a_writing_get_refuses_cookies(client: Client) -> None:
    cookie = {"Cookie": "authtoken=x"}
    assert (await client.get("/other/do?action=on", headers=cookie)).status == 403
    assert (await client.get("/other/do?action=on&authtoken=x", headers=cookie)).status == 200
    assert (await client.get("/a", headers=cookie)).status == 200


async def test_a_writing_get_ends_without_its_client(client: Client, slow: Slow) -> None:
    request = asyncio.create_task(client.get("/other/slow"))
    await slow.has_begun.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await client.get("/a")
    slow.may_end.set()
    async with asyncio.timeout(10):
        await slow.has_ended.wait()
