"""A PBX made of a socket and a script, a cable that can be cut, and the listener between them and the log."""

import asyncio
import contextlib
import hashlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self
from unittest import mock
from urllib.parse import urlsplit

import asyncpg
import msgspec

from schemas.refusals import IN_USE
from schemas.settings import Pbx, Settings
from services.listener.process import listen
from services.listener.spool import Spools
from services.runtime.clock import FullMinute

DEADLINE = 300.0
"""Seconds after which a test hangs; no guarantee, and far more than a busy machine takes."""

NO_SPOOL = Spools(Path("/dev/null/spool"), 0)
"""For a writer whose PostgreSQL never lets it wait."""


async def eventually(condition: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """Wait until ``condition()`` is true and return what it said; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not (got := condition()):
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.005)
    return got


def block(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


class FakeAmi:
    """Speaks AMI as Asterisk 22 does; everything it does otherwise is told by the test.

    ``replies`` maps an action's name to what is sent for it (headers in, bytes out; b"" for silence); ``actions`` is
    everything that was asked, in order, ``blocks`` the same as it came; ``clients`` are the open connections; at an
    action in ``hangs_up_at`` the connection is dropped; while ``quiet``, nothing is answered. ``one_session``:
    manager.conf has ``allowmultiplelogin = no``; ``sessions`` are the Events headers of the logins it accepted.
    """

    def __init__(self, secret: str = "secret", tls: ssl.SSLContext | None = None, piece: int = 0) -> None:
        self.secret = secret
        self.banner = b"Asterisk Call Manager/11.0.0\r\n"
        self.welcome = block("Event: FullyBooted", "Privilege: system,all", "Status: Fully Booted")
        self.refusal = "Authentication failed"
        self.replies: dict[str, Callable[[dict[str, str]], bytes]] = {}
        self.quiet = False
        self.one_session = False
        self.hangs_up_at: set[str] = set()
        self.actions: list[dict[str, str]] = []
        self.blocks: list[str] = []
        self.clients: list[asyncio.StreamWriter] = []
        self.logins = 0
        self.sessions: list[str] = []
        self.turned_away = 0
        self.piece = piece
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", getattr(self, "port", 0), ssl=self._tls)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pbx(self, name: str = "pbx", **more: Any) -> Pbx:
        return Pbx(name=name, host="127.0.0.1", port=more.pop("port", self.port), user="lab", secret="secret", **more)

    def send(self, data: bytes) -> None:
        """Say it to everybody who is logged in, in pieces of ``piece`` bytes if that is set."""
        for client in self.clients:
            for start in range(0, len(data), self.piece or len(data) or 1):
                client.write(data[start : start + (self.piece or len(data))])

    def cut(self) -> None:
        """Drop all connections."""
        for client in self.clients:
            client.transport.abort()

    def asked(self, action: str) -> list[dict[str, str]]:
        return [headers for headers in self.actions if headers.get("Action") == action]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            writer.write(self.banner)
            while True:
                text = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.split(": ", 1) for line in text.split("\r\n") if line)
                self.actions.append(headers)
                self.blocks.append(text)
                if headers["Action"] in self.hangs_up_at:
                    return
                self._answer(headers, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # asyncio's own callback chokes on a cancelled task
        finally:
            if writer in self.clients:
                self.clients.remove(writer)
            writer.transport.abort()
            self._tasks.discard(task)

    def _answer(self, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        action, number = headers["Action"], f"ActionID: {headers['ActionID']}"
        if self.quiet:
            return
        if action in self.replies:
            writer.write(self.replies[action](headers))
        elif action == "Challenge":
            writer.write(block("Response: Success", number, "Challenge: 4711"))
        elif action == "Login" and self.one_session and self.clients:
            self.turned_away += 1
            writer.write(block("Response: Error", number, f"Message: {IN_USE}"))
            writer.close()
        elif action == "Login":
            key = hashlib.md5(f"4711{self.secret}".encode()).hexdigest()
            if headers.get("Key") == key or headers.get("Secret") == self.secret:
                self.logins += 1
                self.sessions.append(headers["Events"])
                self.clients.append(writer)
                # In one write, as Asterisk's own buffering has it at times.
                writer.write(block("Response: Success", number, "Message: Authentication accepted") + self.welcome)
            else:
                writer.write(block("Response: Error", number, f"Message: {self.refusal}"))
        elif action == "Ping":
            writer.write(block("Response: Success", number, "Ping: Pong", f"Timestamp: {time.time():.6f}"))
        else:
            writer.write(block("Response: Error", number, f"Message: Invalid/unknown command: {action}."))


class Cable:
    """Carries TCP to ``target`` (port, or path of a Unix socket) until it is held: then nothing moves or closes.

    ``lose_answer`` drops the next bytes from the target that hold it, and the connection with them.
    """

    def __init__(self, target: int | str) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.lose_answer = b""
        self.lost = 0
        self.delay = 0.0

    @classmethod
    def to_postgresql(cls, url: str) -> Self:
        """A cable to the server whose Unix socket ``url`` names; see `url` for its end."""
        return cls(f"{url.partition('?host=')[2]}/.s.PGSQL.5432")

    def url(self, url: str) -> str:
        """``url`` by way of this cable."""
        return f"postgresql://ringledger@127.0.0.1:{self.port}/{urlsplit(url).path[1:]}?sslmode=disable"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._note(asyncio.current_task())
        self._writers.append(writer)
        try:
            if isinstance(self._target, int):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            else:
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(far_writer)
        self._note(asyncio.create_task(self._carry(reader, far_writer, answers=False)))
        self._note(asyncio.create_task(self._carry(far_reader, writer, answers=True)))

    def _note(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self.flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if answers and self.lose_answer and self.lose_answer in data:
                    self.lost += 1
                    self.lose_answer = b""
                    self.cut()
                    return
                sink.write(data)
        await self.flowing.wait()
        sink.transport.abort()


@contextlib.asynccontextmanager
async def listening(url: str, *pbxes: Pbx) -> AsyncIterator[asyncio.Event]:
    """Listen to ``pbxes`` as the process does; yield the stop event, and stop at the end.

    No full minute comes meanwhile: it would bring a snapshot that a test does not count with.
    """
    stop = asyncio.Event()
    with (
        tempfile.TemporaryDirectory(prefix="ringledger-") as data,
        mock.patch.object(FullMinute, "left", property(lambda _: DEADLINE)),
    ):
        task = asyncio.create_task(listen(Settings(ami=pbxes, data=Path(data)), url, stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(task, DEADLINE)


class Ledger:
    """What the log says, for a test to wait for."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def rows(self, pbx: str = "pbx", source: str = "%") -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._url)
        try:
            query = "SELECT * FROM ledger.event WHERE pbx = $1 AND source LIKE $2 ORDER BY position"
            rows: list[asyncpg.Record] = await connection.fetch(query, pbx, source)
            return rows
        finally:
            await connection.close()

    async def names(self, pbx: str = "pbx", source: str = "%") -> list[str]:
        return [row["name"] for row in await self.rows(pbx, source)]

    async def ours(self, name: str, pbx: str = "pbx") -> list[dict[str, Any]]:
        return [msgspec.json.decode(r["raw"]) for r in await self.rows(pbx, "ringledger") if r["name"] == name]

    async def until(
        self, condition: Callable[[list[str]], bool], pbx: str = "pbx", seconds: float = DEADLINE
    ) -> list[str]:
        """Wait until the names of a PBX's events satisfy ``condition``."""
        end = time.monotonic() + seconds
        while not condition(names := await self.names(pbx)):
            assert time.monotonic() < end, f"not in the log in time; there is {names[-30:]}"
            await asyncio.sleep(0.02)
        return names

    async def until_count(self, count: int, seconds: float = 2 * DEADLINE) -> None:
        """Wait until the log has ``count`` events of AMI, responses aside."""
        query = "SELECT count(*) FROM ledger.event WHERE source = 'ami' AND name NOT LIKE 'Response:%'"
        connection = await asyncpg.connect(self._url)
        end = time.monotonic() + seconds
        while (there := await connection.fetchval(query)) < count:
            assert time.monotonic() < end, f"{there} of {count} events in the log"
            await asyncio.sleep(0.05)
        await connection.close()
