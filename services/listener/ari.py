"""The ARI listener of one PBX: a websocket whose messages enter the same log, with source ``ari``."""

import asyncio
import base64
import time
from datetime import datetime

import aiohttp
import msgspec
import structlog

from schemas.log import MAX_EXACT_SECONDS, AriConnected, AriDisconnected, NewEvent, RingledgerEvent
from schemas.settings import Pbx
from schemas.text import replace_nul
from services.asterisk.tls import tls_context
from services.listener.ingest import Ingest
from services.log.writer import own_event
from services.runtime.backoff import Backoff
from services.runtime.masking.json import mask_json

APP = "ringledger"
CONNECT_TIMEOUT_SECONDS = 5
HEARTBEAT_SECONDS = 10
RETRY = Backoff(0.2, 3.0)
REFUSED_RETRY_SECONDS = 30.0
MAX_MESSAGE_BYTES = 1 << 24
MAX_NAME_LENGTH = 200

logger = structlog.get_logger()


class EventHead(msgspec.Struct):
    """The members that every ARI event has."""

    type: str
    timestamp: str = ""


class AriListener:
    """One PBX's ARI link: connects, hands every message to ``ingest``, reconnects."""

    def __init__(self, pbx: Pbx, ingest: Ingest) -> None:
        self.pbx = pbx
        self.ingest = ingest
        self.rejected = 0
        self.link_up = False
        self.clock_offset: float | None = None  # no ARI response has a time
        self._received_at = 0.0
        self._log = logger.bind(pbx=pbx.name, link="ari")

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``."""
        failures = 0
        stopping = asyncio.create_task(stop.wait())
        # Basic authentication instead of ?api_key=, so that no address in a log or an error contains the secret.
        credentials = base64.b64encode(f"{self.pbx.user}:{self.pbx.secret}".encode()).decode()
        async with aiohttp.ClientSession(headers={"Authorization": f"Basic {credentials}"}) as session:
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
                    failures += 1
                    pause = RETRY.pause(failures)
                    if isinstance(error, aiohttp.WSServerHandshakeError) and error.status in {401, 403}:
                        pause = REFUSED_RETRY_SECONDS
                    self._log.warning(
                        "ari_connect_failed", attempt=failures, error=_message(error), again_in=round(pause, 1)
                    )
                    await asyncio.wait([stopping], timeout=pause)
                    continue
                failures = 0
                await self._listen(socket, stopping)
        stopping.cancel()

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        address = f"http{'s' if self.pbx.tls else ''}://{_host(self.pbx)}:{self.pbx.port}/ari/events"
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            return await session.ws_connect(
                address,
                params={"app": APP, "subscribeAll": "true"},
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=MAX_MESSAGE_BYTES,
                ssl=tls_context(self.pbx) if self.pbx.tls else True,
            )

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, stopping: asyncio.Task[bool]) -> None:
        self._received_at = time.time()
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
            self._write(AriDisconnected(reason, self._received_at))
            self._log.warning("ari_disconnected", reason=reason)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Deliver messages until the link ends; return why it ended."""
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._received_at = time.time()
                self._deliver(message.data.encode(), self._received_at)
                await self.ingest.backlog.has_room.wait()
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._reject(len(message.data), "ARI sends no binary messages")
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"connection lost: {message.data!r}"
            else:
                return f"connection closed by the PBX ({socket.close_code})"

    def _deliver(self, raw: bytes, now: float) -> None:
        try:
            head = msgspec.json.decode(raw, type=EventHead)
        except (msgspec.DecodeError, RecursionError) as error:
            self._reject(len(raw), str(error))
            return
        name = replace_nul(head.type[:MAX_NAME_LENGTH])
        self.ingest.put(NewEvent("ari", name, occurred(head.timestamp), now, mask_json(raw)))

    def _reject(self, size: int, error: str) -> None:
        self.rejected += 1
        if self.rejected.bit_count() == 1:  # the first, second, fourth ...: a PBX must not fill our own log
            self._log.warning("ari_message_rejected", rejected=self.rejected, bytes=size, error=error)

    def _write(self, event: RingledgerEvent) -> None:
        self.ingest.put(own_event(event))


def occurred(timestamp: str) -> float | None:
    """Return an ARI timestamp (``2026-11-22T00:56:23.349+0000``) in seconds since the epoch, None if it is invalid."""
    try:
        when = datetime.fromisoformat(timestamp)
        return when.timestamp() if when.tzinfo is not None and 0 <= when.timestamp() < MAX_EXACT_SECONDS else None
    except (ValueError, OverflowError):
        return None


def _message(error: Exception) -> str:
    # The text of a handshake error contains the request's headers, with the secret among them.
    return f"HTTP {error.status}" if isinstance(error, aiohttp.WSServerHandshakeError) else repr(error)


def _host(pbx: Pbx) -> str:
    return f"[{pbx.host}]" if ":" in pbx.host else pbx.host
