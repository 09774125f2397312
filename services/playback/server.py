"""The playback PBX's socket: as much of Asterisk's manager interface as a client that listens needs."""

import asyncio
import hashlib
import hmac
import secrets
import socket

import structlog

from services.playback.player import Player, now
from services.playback.recording import load
from services.playback.state import headers

USER = "ringledger"
SECRET = "recording"  # noqa: S105 (it guards a recording that everybody has, on the loopback)
REFUSE_SECONDS = 1.0
BUFFER = 1 << 24
"""Bytes a client may be behind before it is cut, as Asterisk cuts those that do not read."""

logger = structlog.get_logger()

Headers = dict[str, str]


class Client:
    """One AMI session, from the banner to the end."""

    def __init__(self, player: Player, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._player = player
        self._reader = reader
        self._writer = writer
        self._challenge = ""
        self._classes: frozenset[bytes] | None = frozenset()
        self._in = False

    async def run(self) -> None:
        """Serve until either side ends it."""
        self._writer.write(self._player.banner)
        try:
            while True:
                asked = headers(await self._reader.readuntil(b"\r\n\r\n"))
                if not await self._act(asked):
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client went away, or speaks something else
        finally:
            self._player.hearers.discard(self._hear)
            self._writer.close()

    def _hear(self, said: bytes) -> None:
        if self._writer.is_closing():
            return
        if self._classes is not None:
            at = said.find(b"\r\nPrivilege: ") + 13
            if self._classes.isdisjoint(said[at : said.find(b"\r\n", at)].split(b",")):
                return
        self._writer.write(said)
        if self._writer.transport.get_write_buffer_size() > BUFFER:
            logger.warning("client_does_not_read", bytes=self._writer.transport.get_write_buffer_size())
            self._player.hearers.discard(self._hear)
            self._writer.transport.abort()

    def _reply(self, asked: Headers, response: str, **more: str) -> None:
        lines = {"Response": response}
        if asked.get("actionid"):
            lines["ActionID"] = asked["actionid"]
        text = "".join(f"{name}: {value}\r\n" for name, value in (lines | more).items())
        self._writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")

    async def _act(self, said: Headers) -> bool:
        asked = {name.lower(): value for name, value in said.items()}
        action = asked.get("action", "")
        match action.lower():
            case "":
                self._reply(asked, "Error", Message="Missing action in request")
            case "challenge":
                self._give_challenge(asked)
            case "login":
                return await self._login(asked)
            case "logoff":
                self._reply(asked, "Goodbye", Message="Thanks for all the fish.")
                await self._writer.drain()
                return False
            case _ if not self._in:
                self._reply(asked, "Error", Message="Permission denied")
            case "ping":
                micro = now()
                self._reply(asked, "Success", Ping="Pong", Timestamp=f"{micro // 1_000_000}.{micro % 1_000_000:06}")
            case "events":
                self._listen(asked.get("eventmask", ""))
                self._reply(asked, "Success", Events="Off" if self._classes == frozenset() else "On")
            case _:
                self._answer(asked, action)
        await self._writer.drain()
        return True

    def _give_challenge(self, asked: Headers) -> None:
        if asked.get("authtype", "").lower() != "md5":
            self._reply(asked, "Error", Message="Must specify AuthType")
            return
        self._challenge = self._challenge or str(secrets.randbelow(900_000_000) + 100_000_000)
        self._reply(asked, "Success", Challenge=self._challenge)

    async def _login(self, asked: Headers) -> bool:
        if asked.get("authtype", "").lower() == "md5":
            proof = hashlib.md5(f"{self._challenge}{SECRET}".encode(), usedforsecurity=False).hexdigest()
            right = bool(self._challenge) and hmac.compare_digest(proof, asked.get("key", "").lower())
        else:
            right = hmac.compare_digest(SECRET.encode(), asked.get("secret", "").encode("utf-8", "surrogateescape"))
        if not right or asked.get("username") != USER:
            await asyncio.sleep(REFUSE_SECONDS)
            self._reply(asked, "Error", Message="Authentication failed")
            await self._writer.drain()
            return False
        self._in = True
        self._reply(asked, "Success", Message="Authentication accepted")
        self._listen(asked.get("events", "on"))
        self._hear(self._player.booted())
        await self._writer.drain()
        return True

    def _listen(self, mask: str) -> None:
        low = mask.lower()
        if low in {"on", "yes", "true", "1", "all", ""}:
            self._classes = None
        elif low in {"off", "no", "false", "0"}:
            self._classes = frozenset()
        else:
            self._classes = frozenset(part.strip().encode() for part in low.split(","))
        (self._player.hearers.discard if self._classes == frozenset() else self._player.hearers.add)(self._hear)

    def _answer(self, asked: Headers, action: str) -> None:
        answer = self._player.answer(asked)
        if answer is not None:
            self._writer.write(b"".join(answer))
        elif action.lower() == "getconfig":
            self._reply(asked, "Error", Message="Config file not found")
        elif self._player.knows(action):
            # A recording cannot act, nor tell what nobody asked then: what Asterisk says to one who may not.
            self._reply(asked, "Error", Message="Permission denied")
        else:
            hint = "Use Action: ListCommands to show available commands."
            self._reply(asked, "Error", Message=f"Invalid/unknown command: {action}. {hint}")


async def play(listening: socket.socket, speed: float, stop: asyncio.Event) -> None:
    """Serve the recording on a bound socket until ``stop``."""
    recording = load()
    player = Player(recording, speed)
    clients: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        try:
            await Client(player, reader, writer).run()
        finally:
            clients.discard(task)

    server = await asyncio.start_server(accept, sock=listening)
    logger.info("playing_a_recording", port=listening.getsockname()[1], events=len(recording.live))
    try:
        await player.run(stop)
    finally:
        server.close()
        for task in tuple(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
