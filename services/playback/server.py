"""The socket of the playback PBX: the part of Asterisk's manager interface that a listening client needs."""

import asyncio
import hashlib
import hmac
import secrets
import socket

import structlog

from services.playback.blocks import Headers, parse_block
from services.playback.player import Player, now
from services.playback.recording import load

USER = "ringledger"
SECRET = "recording"  # noqa: S105 (it protects a public recording, on the loopback)
REFUSAL_DELAY_SECONDS = 1.0
MAX_BUFFER_BYTES = 1 << 24
"""A client that is further behind is disconnected, as Asterisk disconnects clients that do not read."""

logger = structlog.get_logger()


class Client:
    """One AMI session, from the banner to the end."""

    def __init__(self, player: Player, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._player = player
        self._reader = reader
        self._writer = writer
        self._challenge = ""
        self._classes: frozenset[bytes] | None = frozenset()
        self._is_logged_in = False

    async def run(self) -> None:
        """Serve the client until either side ends the session."""
        self._writer.write(self._player.banner)
        try:
            while True:
                headers = parse_block(await self._reader.readuntil(b"\r\n\r\n"))
                if not await self._act(headers):
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client has left, or its protocol is not AMI
        finally:
            self._player.subscribers.discard(self._deliver)
            self._writer.close()

    def _deliver(self, block: bytes) -> None:
        if self._writer.is_closing():
            return
        if self._classes is not None:
            at = block.find(b"\r\nPrivilege: ") + 13
            if self._classes.isdisjoint(block[at : block.find(b"\r\n", at)].split(b",")):
                return
        self._writer.write(block)
        if self._writer.transport.get_write_buffer_size() > MAX_BUFFER_BYTES:
            logger.warning("client_does_not_read", bytes=self._writer.transport.get_write_buffer_size())
            self._player.subscribers.discard(self._deliver)
            self._writer.transport.abort()

    def _reply(self, fields: Headers, response: str, **more: str) -> None:
        lines = {"Response": response}
        if fields.get("actionid"):
            lines["ActionID"] = fields["actionid"]
        text = "".join(f"{name}: {value}\r\n" for name, value in (lines | more).items())
        self._writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")

    async def _act(self, headers: Headers) -> bool:
        fields = {name.lower(): value for name, value in headers.items()}
        action = fields.get("action", "")
        match action.lower():
            case "":
                self._reply(fields, "Error", Message="Missing action in request")
            case "challenge":
                self._challenge_client(fields)
            case "login":
                return await self._login(fields)
            case "logoff":
                self._reply(fields, "Goodbye", Message="Thanks for all the fish.")
                await self._writer.drain()
                return False
            case _ if not self._is_logged_in:
                self._reply(fields, "Error", Message="Permission denied")
            case "ping":
                micro = now()
                self._reply(fields, "Success", Ping="Pong", Timestamp=f"{micro // 1_000_000}.{micro % 1_000_000:06}")
            case "events":
                self._subscribe(fields.get("eventmask", ""))
                self._reply(fields, "Success", Events="Off" if self._classes == frozenset() else "On")
            case _:
                self._answer(fields, action)
        await self._writer.drain()
        return True

    def _challenge_client(self, fields: Headers) -> None:
        if fields.get("authtype", "").lower() != "md5":
            self._reply(fields, "Error", Message="Must specify AuthType")
            return
        self._challenge = self._challenge or str(secrets.randbelow(900_000_000) + 100_000_000)
        self._reply(fields, "Success", Challenge=self._challenge)

    async def _login(self, fields: Headers) -> bool:
        if fields.get("authtype", "").lower() == "md5":
            proof = hashlib.md5(f"{self._challenge}{SECRET}".encode(), usedforsecurity=False).hexdigest()
            is_valid = bool(self._challenge) and hmac.compare_digest(proof, fields.get("key", "").lower())
        else:
            is_valid = hmac.compare_digest(SECRET.encode(), fields.get("secret", "").encode("utf-8", "surrogateescape"))
        if not is_valid or fields.get("username") != USER:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            self._reply(fields, "Error", Message="Authentication failed")
            await self._writer.drain()
            return False
        self._is_logged_in = True
        self._reply(fields, "Success", Message="Authentication accepted")
        self._subscribe(fields.get("events", "on"))
        self._deliver(self._player.fully_booted())
        await self._writer.drain()
        return True

    def _subscribe(self, mask: str) -> None:
        low = mask.lower()
        if low in {"on", "yes", "true", "1", "all", ""}:
            self._classes = None
        elif low in {"off", "no", "false", "0"}:
            self._classes = frozenset()
        else:
            self._classes = frozenset(part.strip().encode() for part in low.split(","))
        (self._player.subscribers.discard if self._classes == frozenset() else self._player.subscribers.add)(
            self._deliver
        )

    def _answer(self, fields: Headers, action: str) -> None:
        answer = self._player.answer(fields)
        if answer is not None:
            self._writer.write(b"".join(answer))
        elif action.lower() == "getconfig":
            self._reply(fields, "Error", Message="Config file not found")
        elif self._player.has_action(action):
            # The recording has no answer to this action, so the reply is that to a user without the class.
            self._reply(fields, "Error", Message="Permission denied")
        else:
            hint = "Use Action: ListCommands to show available commands."
            self._reply(fields, "Error", Message=f"Invalid/unknown command: {action}. {hint}")


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
