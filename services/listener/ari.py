"""Listens to a PBX's ARI events: a websocket whose messages enter the same log, with source ``ari``."""

import asyncio
import base64
import time
from datetime import datetime

import aiohttp
import msgspec
import structlog

from schemas.log import LATEST, AriConnected, AriDisconnected, NewEvent, RingledgerEvent
from schemas.settings import Pbx
from schemas.text import replace_nul
from services.asterisk.tls import tls_context
from services.listener.ingest import Ingest
from services.log.writer import own_event
from services.runtime.backoff import Backoff
from services.runtime.masking.json import mask_json

APP = "ringledger"
CONNECT_SECONDS = 5
HEARTBEAT_SECONDS = 10
RETRY = Backoff(0.2, 3.0)
REFUSED_RETRY_SECONDS = 30.0
MAX_MESSAGE = 1 << 24

logger = structlog.get_logger()


class Head(msgspec.Struct):
    """What every ARI event has."""

    type: str
    timestamp: str = ""


class AriListener:
    """One PBX's ARI link: connects, hands on every message, reconnects."""

    def __init__(self, pbx: Pbx, ingest: Ingest) -> None:
        self.pbx = pbx
        self.rejected = 0
        self.link_up = False
        self.clock_offset: float | None = None  # ARI has no answer with a time
        self._ingest = ingest
        self._heard = 0.0
        self._log = logger.bind(pbx=pbx.name, link="ari")

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``."""
        attempt = 0
        stopping = asyncio.create_task(stop.wait())
        # Basic authentication and not ?api_key=, so that no address in a log or an error holds the secret.
        proof = base64.b64encode(f"{self.pbx.user}:{self.pbx.secret}".encode()).decode()
        async with aiohttp.ClientSession(headers={"Authorization": f"Basic {proof}"}) as session:
            while not stop.is_set():
                connecting = asyncio.create_task(self._connect(session))
                await asyncio.wait([connecting, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not connecting.done():
                    connecting.cancel()
                    await asyncio.wait([connecting])
                    break
                try:
                    socket = connecting.result()
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    attempt += 1
                    refused = isinstance(error, aiohttp.WSServerHandshakeError) and error.status in {401, 403}
                    pause = REFUSED_RETRY_SECONDS if refused else RETRY.pause(attempt)
                    self._log.warning(
                        "ari_connect_failed", attempt=attempt, error=_said(error), again_in=round(pause, 1)
                    )
                    await asyncio.wait([stopping], timeout=pause)
                    continue
                attempt = 0
                await self._listen(socket, stopping)
        stopping.cancel()

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        address = f"http{'s' if self.pbx.tls else ''}://{_host(self.pbx)}:{self.pbx.port}/ari/events"
        async with asyncio.timeout(CONNECT_SECONDS):
            return await session.ws_connect(
                address,
                params={"app": APP, "subscribeAll": "true"},
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=MAX_MESSAGE,
                ssl=tls_context(self.pbx) if self.pbx.tls else True,
            )

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, stopping: asyncio.Task[bool]) -> None:
        self._heard = time.time()
        self._write(AriConnected(f"{self.pbx.host}:{self.pbx.port}"))
        self.link_up = True
        self._log.info("ari_connected")
        reading = asyncio.create_task(self._read(socket))
        await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
        reason = "listener stopped"
        try:
            if reading.done():
                reason = reading.result()
        except Exception as error:
            reason = f"listener failed: {error!r}"
            raise
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            self.link_up = False
            await socket.close()
            self._write(AriDisconnected(reason, self._heard))
            self._log.warning("ari_disconnected", reason=reason)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Hand on messages until the link ends; return why it ended."""
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._heard = time.time()
                self._take(message.data.encode(), self._heard)
                await self._ingest.backlog.room.wait()
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._reject(len(message.data), "ARI sends no binary messages")
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"connection lost: {message.data!r}"
            else:
                return f"connection closed by the PBX ({socket.close_code})"

    def _take(self, raw: bytes, now: float) -> None:
        try:
            head = msgspec.json.decode(raw, type=Head)
        except (msgspec.DecodeError, RecursionError) as error:
            self._reject(len(raw), str(error))
            return
        name = replace_nul(head.type[:200])
        self._ingest.put(NewEvent("ari", name, occurred(head.timestamp), now, mask_json(raw)))

    def _reject(self, size: int, error: str) -> None:
        self.rejected += 1
        if self.rejected.bit_count() == 1:  # the first, the second, the fourth: a PBX must not fill our own log
            self._log.warning("ari_message_rejected", rejected=self.rejected, bytes=size, error=error)

    def _write(self, event: RingledgerEvent) -> None:
        self._ingest.put(own_event(event))


def occurred(timestamp: str) -> float | None:
    """Return an ARI timestamp (``2026-11-22T00:56:23.349+0000``) as seconds since the epoch, None if it is none."""
    try:
        when = datetime.fromisoformat(timestamp)
        return when.timestamp() if when.tzinfo is not None and 0 <= when.timestamp() < LATEST else None
    except (ValueError, OverflowError):
        return None


def _said(error: Exception) -> str:
    # The whole of a handshake error repeats the request's headers, with the secret among them.
    return f"HTTP {error.status}" if isinstance(error, aiohttp.WSServerHandshakeError) else repr(error)


def _host(pbx: Pbx) -> str:
    return f"[{pbx.host}]" if ":" in pbx.host else pbx.host
