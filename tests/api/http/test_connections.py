"""Connections: their time limits, their number, and the choice of the connection to close."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from api.app_keys import SETTINGS
from api.http.connections.connections import CONNECTIONS, Connections, limit_requests
from api.http.connections.guarded_connection import GuardedConnection
from api.http.connections.limits import Limits
from api.http.connections.site import GuardedSite
from api.http.dialect import DIALECTS, Dialects
from api.http.middleware import render_errors
from api.jade.dialect import jade
from api.jade.envelope import failure
from schemas.settings import Settings
from tests.support.polling import eventually
from tests.support.ports import free_port

FILES = 1 << 20
LONG = 600.0
HOUR = Limits(FILES, LONG, LONG, LONG, max_connections=48)
PROXY = "127.0.0.2"


class Peer:
    """The client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: str) -> None:
        self.writer.write(data.encode())

    async def request(self, path: str, headers: str = "") -> int:
        """Send a request, and return the status of its response, or 0 if the connection ends first."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
        return await self.status()

    async def status(self) -> int:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            if match := re.search(rb"(?i)content-length: (\d+)", head):
                await self.reader.readexactly(int(match[1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(head.split()[1])

    async def read_to_end(self) -> bytes:
        """Return the bytes up to the end of the connection, by a close or a reset."""
        parts: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            while part := await self.reader.read(1 << 16):
                parts.append(part)
        return b"".join(parts)


class Server(GuardedSite):
    """A server with these limits, and handlers that answer at once, late, or with a large body."""

    def __init__(self, runner: web.AppRunner, connections: Connections) -> None:
        super().__init__(runner, connections, "127.0.0.1", 0)
        self.connections = connections
        self.answers = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)
        self.peers: list[Peer] = []

    @property
    def port(self) -> int:
        port: int = self._runner.addresses[0][1]
        return port

    async def connect(self, address: str = "127.0.0.1") -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.peers.append(Peer(reader, writer))
        return self.peers[-1]

    async def connect_idle(self, address: str = "127.0.0.1") -> Peer:
        """Return a connection that has served a request and is idle now."""
        peer = await self.connect(address)
        assert await peer.request("/") == 200
        return peer

    async def poll(self, address: str = "127.0.0.1", headers: str = "") -> "asyncio.Task[int]":
        """Send a request, and return its task once it waits in the handler."""
        poll = asyncio.create_task((await self.connect(address)).request("/poll", headers))
        await self.waiting.acquire()
        return poll

    def closed(self) -> dict[str, int]:
        """Return the counts of closed connections by reason."""
        text = generate_latest(self.connections.registry).decode()
        counts = re.findall(r'closed_total\{reason="(\w+)"\} (\d+)', text)
        return {reason: int(count) for reason, count in counts if int(count)}


Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    servers: list[tuple[web.AppRunner, Server]] = []

    async def start_server(limits: Limits = HOUR, **settings: Any) -> Server:
        app = web.Application(middlewares=[render_errors, limit_requests])
        app[SETTINGS] = Settings(**settings)
        app[CONNECTIONS] = Connections(app[SETTINGS].trusted_proxies, CollectorRegistry(), limits, failure)
        app[DIALECTS] = Dialects([jade(app[SETTINGS])])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

        async def poll(_request: web.Request) -> web.Response:
            server.waiting.release()
            await server.answers.wait()
            return web.Response()

        async def body(request: web.Request) -> web.Response:
            return web.Response(body=await request.read())

        async def big(_request: web.Request) -> web.Response:
            return web.Response(body=bytes(64 << 20))

        async def small(_request: web.Request) -> web.Response:
            return web.Response()

        app.add_routes([web.get("/", small), web.get("/poll", poll), web.post("/body", body), web.get("/big", big)])
        await runner.setup()
        server = Server(runner, app[CONNECTIONS])
        await server.start()
        servers.append((runner, server))
        return server

    yield start_server
    for runner, server in servers:
        server.answers.set()
        for peer in server.peers:
            peer.writer.close()
        await runner.cleanup()


async def test_a_silent_connection_is_closed(start: Start) -> None:
    server = await start(Limits(FILES, headers_seconds=0.05))
    assert await (await server.connect()).read_to_end() == b""
    assert server.closed() == {"headers": 1}


async def trickle(peer: Peer, start: str) -> tuple[bytes, bytes]:
    """Send the start of a request, then single bytes until the response; return its head and body."""
    response = asyncio.create_task(peer.read_to_end())
    peer.send(start)
    while not response.done():
        peer.send("x")
        await asyncio.sleep(0.01)
    head, _, text = (await response).partition(b"\r\n\r\n")
    return head, text


@pytest.mark.parametrize("is_used", [False, True])
async def test_trickling_headers_are_408(start: Start, is_used: bool) -> None:  # noqa: FBT001
    server = await start()
    if is_used:
        peer = await server.connect_idle()
        server.connections.limits = Limits(FILES, headers_seconds=0.2)
    else:
        server.connections.limits = Limits(FILES, headers_seconds=0.2)
        peer = await server.connect()
    head, text = await trickle(peer, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(text)["statuscode"] == 408
    assert server.closed() == {"headers": 1}


async def test_a_trickling_body_is_408(start: Start) -> None:
    server = await start(Limits(FILES, body_seconds=0.2))
    peer = await server.connect()
    head, text = await trickle(peer, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(text)["message"] == "the body did not arrive in time"
    assert server.closed() == {"body": 1}


async def test_a_client_that_does_not_read_is_closed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start(Limits(FILES, stall_seconds=0.2))
    closed = asyncio.Event()
    forget = server.connections.forget

    def forget_and_signal(connection: GuardedConnection) -> None:
        forget(connection)
        closed.set()

    monkeypatch.setattr(server.connections, "forget", forget_and_signal)
    peer = await server.connect()
    peer.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await closed.wait()
    assert (server.closed(), len(server.connections)) == ({"stalled": 1}, 0)


async def test_a_client_that_reads_gets_all(start: Start) -> None:
    server = await start(Limits(FILES, stall_seconds=LONG))
    assert await (await server.connect()).request("/big") == 200
    assert server.closed() == {}


async def test_a_long_poll_outlasts_every_limit(start: Start) -> None:
    server = await start()
    poll = await server.poll()
    server.connections.limits = Limits(FILES, headers_seconds=0.05, body_seconds=0.05, stall_seconds=0.05)
    silent = await server.connect()
    assert await silent.read_to_end() == b""
    server.answers.set()
    assert await poll == 200


async def test_one_connection_takes_several_requests_with_bodies(start: Start) -> None:
    server = await start()
    peer = await server.connect()
    for text in ("one", "two"):
        peer.send(f"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n{text}")
        assert await peer.status() == 200
    assert await peer.request("/") == 200


async def test_an_address_over_its_limit_loses_idle_connections(start: Start) -> None:
    server = await start()
    other = await server.connect_idle("127.0.0.9")
    own = [await server.connect_idle() for _ in range(HOUR.per_client)]
    assert await own[0].request("/") == 200  # Now the second connection is idle the longest.
    late = await server.connect_idle()
    assert await own[1].read_to_end() == b""
    assert [await peer.request("/") for peer in (other, own[0], own[2], late)] == [200] * 4
    assert server.closed() == {"idle": 1}


async def test_an_address_with_busy_connections_is_429(start: Start) -> None:
    server = await start()
    polls = [await server.poll() for _ in range(HOUR.per_client)]
    assert await (await server.connect()).request("/") == 429
    assert await (await server.connect("127.0.0.9")).request("/") == 200
    server.answers.set()
    assert await asyncio.gather(*polls) == [200] * HOUR.per_client
    assert server.closed() == {"address": 1}


async def test_a_full_server_closes_the_longest_idle(start: Start) -> None:
    server = await start()
    peers = [await server.connect(f"127.0.1.{number % 8}") for number in range(HOUR.connections)]
    for number in range(5):
        assert await (await server.connect("127.0.2.1")).request("/") == 200
        assert await peers[number].read_to_end() == b""
    assert len(server.connections) == HOUR.connections
    assert server.closed() == {"idle": 5}


async def test_a_full_server_of_busy_connections_is_503(start: Start) -> None:
    server = await start()
    polls = [await server.poll(f"127.0.1.{number % 8}") for number in range(HOUR.connections)]
    assert await (await server.connect("127.0.2.1")).request("/") == 503
    server.answers.set()
    assert set(await asyncio.gather(*polls)) == {200}
    assert server.closed() == {"full": 1}


async def test_clients_behind_a_trusted_proxy_have_the_limit(start: Start) -> None:
    server = await start(trusted_proxies=(ip_network(PROXY),))
    idle = [await server.connect_idle(PROXY) for _ in range(HOUR.per_client + 1)]
    busy = [await server.poll(PROXY, "X-Forwarded-For: 192.0.2.1\r\n") for _ in range(HOUR.per_client)]
    assert await idle[0].request("/", "X-Forwarded-For: 192.0.2.1\r\n") == 429
    assert await idle[0].request("/", "X-Forwarded-For: 192.0.2.2\r\n") == 200
    assert await idle[0].request("/") == 200
    server.answers.set()
    assert set(await asyncio.gather(*busy)) == {200}
    assert [await peer.request("/") for peer in idle] == [200] * len(idle)
    assert server.closed() == {"requests": 1}


class FakeConnection(GuardedConnection):
    """A connection without a socket; the test chooses the number of its file."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections, asyncio.Protocol())
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


async def test_a_lack_of_files_closes_connections() -> None:
    """The number of a new file is the number of open files, because the kernel assigns the lowest free one."""
    limits = Limits(1024)
    connections = Connections((), CollectorRegistry(), limits, failure)
    idle, second, third, fourth = (FakeConnection(connections) for _ in range(4))
    assert connections.admit(idle, "192.0.2.1", 1024 - limits.reserve - 1) is None
    assert connections.admit(second, "192.0.2.2", 1024 - limits.reserve) is None
    assert (idle.is_aborted, second.is_aborted) == (True, False)
    assert connections.admit(third, "192.0.2.3", 1024 - limits.last_files) == 0
    assert second.is_aborted
    assert connections.admit(fourth, "192.0.2.4", 1024 - limits.reserve) == 503


def lower_file_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 512))


async def start_api(data: Path) -> tuple[asyncio.subprocess.Process, int]:
    """Start the API's process without PostgreSQL; return it and its port once it answers."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RINGLEDGER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.process"),
        env=environ
        | {
            "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
            "RINGLEDGER_DATA": str(data),
            "RINGLEDGER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        },
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lower_file_limit,
    )

    async def is_healthy() -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.to_thread(healthz, port, "127.0.0.1") == 200
        return False

    await eventually(is_healthy, "the API is healthy")
    return process, port


MALFORMED = (
    b"GET /healthz?authtoken=hunter2\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz?authtoken=hunter2 HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET http://[x/?authtoken=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hunter2\0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hunter2" + b"x" * 9000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nhunter2!",
    b'POST /v1/admin/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{"password": "hunter2"}\r\n',
)


async def test_a_malformed_request_logs_nothing(tmp_path: Path) -> None:
    process, port = await start_api(tmp_path)
    try:
        for request in MALFORMED:
            assert await asyncio.to_thread(status_of, port, request) in {400, 404}
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert b"hunter2" not in log
    assert all(line.startswith(b"{") for line in log.splitlines())
    assert "library_log" not in [json.loads(line)["event"] for line in log.splitlines()]


def status_of(port: int, request: bytes) -> int:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(request)
        return int(connection.makefile("rb").readline().split()[1])


async def test_the_api_answers_despite_many_silent_sockets(tmp_path: Path) -> None:
    process, port = await start_api(tmp_path)
    silent: list[socket.socket] = []
    try:
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (512, 512)
        for number in range(600):
            source = f"127.0.1.{1 + number // 60}"
            silent.append(await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 60, (source, 0)))
        for source in ("127.0.0.1", "127.0.1.1", "127.0.9.9"):
            assert await asyncio.to_thread(healthz, port, source) == 200
    finally:
        for connection in silent:
            connection.close()
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    assert "idle" in [line["reason"] for line in lines if line["event"] == "connections_closed"]


def healthz(port: int, source: str) -> int:
    with socket.create_connection(("127.0.0.1", port), 60, (source, 0)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])


async def test_closed_connections_are_logged_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.connections.connections.LOG_SECONDS", 0.05)
    connections = Connections((), CollectorRegistry(), HOUR, failure)
    with capture_logs() as logs:
        for _ in range(3):
            connections.count("idle", "192.0.2.1")
        await eventually(lambda: len(logs) == 2)
        connections.count("idle", "192.0.2.2")
    assert [(line["reason"], line["count"], line.get("client")) for line in logs] == [
        ("idle", 1, "192.0.2.1"),
        ("idle", 2, None),
        ("idle", 1, "192.0.2.2"),
    ]
