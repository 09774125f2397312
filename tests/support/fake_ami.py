"""A PBX that speaks AMI as Asterisk 22 does, as far as a test does not change it."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable
from typing import Any, Self

from schemas.refusals import IN_USE
from schemas.settings import Pbx


def block(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


class FakeAmi:
    """A PBX that speaks AMI as Asterisk 22 does, except where the test changes it.

    ``replies`` maps an action's name to the bytes of its response (headers in, bytes out; b"" for silence).
    ``actions`` are all actions received, in order; ``blocks`` are the same as text. ``clients`` are the open
    connections. An action in ``hangs_up_at`` drops the connection; while ``quiet``, the PBX does not respond.
    ``one_session``: manager.conf has ``allowmultiplelogin = no``. ``sessions`` are the Events headers of its logins.
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
        """Send it to every client that is logged in, in pieces of ``piece`` bytes if that is set."""
        for client in self.clients:
            for start in range(0, len(data), self.piece or len(data) or 1):
                client.write(data[start : start + (self.piece or len(data))])

    def cut(self) -> None:
        """Drop all connections."""
        for client in self.clients:
            client.transport.abort()

    def actions_named(self, action: str) -> list[dict[str, str]]:
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
