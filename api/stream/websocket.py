"""GET /v1/ws: messages over a websocket, whose client says on the way which topics it wants.

The client sends ``{"subscribe": ["/core/channels"]}`` or ``{"unsubscribe": [...]}``, and is answered
``{"subscribed": [...], "position": N}``: what it wants now, and that all of it from after that position on will come.
"""

import asyncio
import contextlib

import msgspec
import structlog
from aiohttp import WSMsgType, web

from api.http.errors import ApiError
from api.http.origins import require_own_page
from api.stream import closing
from api.stream.client_stream import ClientStream
from api.stream.closing import StreamClosedError
from api.stream.hub import STREAMS
from api.stream.params import KEEP_ALIVE_SECONDS, RECHECK_SECONDS, STALL_SECONDS, recheck_token, start_id, topic_filter
from api.stream.topics import MAX_TOPICS, TopicFilter, parse_topics

HEARTBEAT_SECONDS = 15.0
MAX_MESSAGE_BYTES = 64 << 10
CLOSE_SECONDS = 2.0

logger = structlog.get_logger()


class ClientMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may say: one of the two."""

    subscribe: list[str] | None = None
    unsubscribe: list[str] | None = None


async def websocket(request: web.Request) -> web.StreamResponse:
    require_own_page(request)  # browsers let any page open a websocket
    place, asked = start_id(request), topic_filter(request)
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_SECONDS, compress=False
    )
    if not socket.can_prepare(request):
        raise ApiError(426, "this is for websockets; /v1/events is for the rest", headers={"Upgrade": "websocket"})
    async with request.app[STREAMS].open(place) as stream:
        await socket.prepare(request)
        session = _Session(request, socket, stream, asked)
        # Who goes on where it was has missed nothing before it has said what it wants.
        if place is None or asked.topics:
            session.begun.set()
        await session.run()
    return socket


class _Session:
    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, stream: ClientStream, asked: TopicFilter
    ) -> None:
        self.begun = asyncio.Event()
        self._request = request
        self._socket = socket
        self._stream = stream
        self._asked = asked

    async def run(self) -> None:
        """Send and listen until one of the two is over; say why if it is us."""
        sending, listening = (asyncio.create_task(work) for work in (self._send(), self._listen()))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, listening):
                task.cancel()
            done = await asyncio.gather(sending, listening, return_exceptions=True)
        reason = next((one for one in done if isinstance(one, StreamClosedError)), None)
        for one in done:
            if isinstance(one, Exception) and not isinstance(one, StreamClosedError | ConnectionResetError):
                raise one
        await self._close(reason)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        checked = sent = clock()
        while True:
            if not self.begun.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await self.begun.wait()
                found, whole = [], False
            else:
                batch = await self._stream.next_batch(RECHECK_SECONDS, self._asked)
                found = [m.data for m in batch.messages if self._asked.matches(m.topic, m.pbx)]
                whole = batch.whole
            now = clock()
            if now - checked >= RECHECK_SECONDS:
                recheck_token(self._request)
                checked = now
            if not found and whole and now - sent >= KEEP_ALIVE_SECONDS:
                found = [msgspec.json.encode({"position": self._stream.position})]
            for data in found:
                self._stream.check()
                await self._say(data)
                sent = now

    async def _listen(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._say(msgspec.json.encode(self._heard(message.data)))
            elif message.type is WSMsgType.BINARY:
                await self._say(msgspec.json.encode({"error": "JSON as text is wanted"}))

    def _heard(self, text: str) -> dict[str, object]:
        """Do what a client says, all of it or nothing, and return what it is answered."""
        try:
            said = msgspec.json.decode(text, type=ClientMessage)
            if (said.subscribe is None) == (said.unsubscribe is None):
                return {"error": 'say {"subscribe": [...]} or {"unsubscribe": [...]}'}
            paths = self._request.app[STREAMS].catalog.paths
            more, less = parse_topics(said.subscribe or (), paths), parse_topics(said.unsubscribe or (), paths)
        except msgspec.MsgspecError as error:
            return {"error": f"not understood: {error}"}
        except ApiError as error:
            return {"error": error.message}
        topics = tuple(topic for topic in dict.fromkeys((*self._asked.topics, *more)) if topic not in less)
        if len(topics) > MAX_TOPICS:
            return {"error": f"topic: no more than {MAX_TOPICS}"}
        self._asked = msgspec.structs.replace(self._asked, topics=topics)
        self._stream.filter_changed()
        if topics:
            self.begun.set()
        shown = [topic if topic == "/" else topic[:-1] for topic in topics]
        return {"subscribed": shown, "position": self._stream.position}

    async def _say(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._socket.send_frame(data, WSMsgType.TEXT)
        except TimeoutError:
            raise closing.slow() from None

    async def _close(self, reason: StreamClosedError | None) -> None:
        """Close, with the reason; who does not even read that is cut off."""
        code, text = (reason.close, f"{reason.code}: {reason}") if reason else (1000, "")
        if reason is not None:
            logger.info("stream_ended", path=self._request.path, reason=reason.code)
        try:
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await self._socket.close(code=code, message=text.encode()[:123])
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
