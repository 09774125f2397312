"""GET /v1/ws: messages over a websocket, whose client changes its topics on the way.

The client sends ``{"subscribe": ["/core/channels"]}`` or ``{"unsubscribe": [...]}``. The server replies with
``{"subscribed": [...], "position": N}``: all topics from now on, which apply to every message after that position.
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
from api.stream.closing import StreamClosed
from api.stream.hub import STREAMS
from api.stream.params import KEEP_ALIVE_SECONDS, RECHECK_SECONDS, STALL_SECONDS, recheck_token, start_id, topic_filter
from api.stream.topics import MAX_TOPICS, TopicFilter, parse_topics

HEARTBEAT_SECONDS = 15.0
MAX_MESSAGE_BYTES = 64 << 10
CLOSE_SECONDS = 2.0

logger = structlog.get_logger()


class ClientMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of the client: one of the two."""

    subscribe: list[str] | None = None
    unsubscribe: list[str] | None = None


async def websocket(request: web.Request) -> web.StreamResponse:
    require_own_page(request)  # browsers let any page open a websocket
    start, topics = start_id(request), topic_filter(request)
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_SECONDS, compress=False
    )
    if not socket.can_prepare(request):
        raise ApiError(
            426, "this path is for websockets; /v1/events serves other clients", headers={"Upgrade": "websocket"}
        )
    async with request.app[STREAMS].open(start) as stream:
        await socket.prepare(request)
        session = _Session(request, socket, stream, topics)
        # A client that continues misses no message before its first subscription.
        if start is None or topics.topics:
            session.has_topics.set()
        await session.run()
    return socket


class _Session:
    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, stream: ClientStream, topics: TopicFilter
    ) -> None:
        self.has_topics = asyncio.Event()
        self._request = request
        self._socket = socket
        self._stream = stream
        self._topics = topics

    async def run(self) -> None:
        """Send and receive until one of the two ends; close the socket then."""
        tasks = [asyncio.create_task(work) for work in (self._send(), self._receive())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        reason = next((result for result in results if isinstance(result, StreamClosed)), None)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, StreamClosed | ConnectionResetError):
                raise result
        await self._close(reason)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        checked_at = sent_at = clock()
        while True:
            messages, is_whole = await self._next_messages()
            now = clock()
            if now - checked_at >= RECHECK_SECONDS:
                recheck_token(self._request)
                checked_at = now
            if not messages and is_whole and now - sent_at >= KEEP_ALIVE_SECONDS:
                messages = [msgspec.json.encode({"position": self._stream.position})]
            for data in messages:
                self._stream.check()
                await self._write(data)
                sent_at = now

    async def _next_messages(self) -> tuple[list[bytes], bool]:
        """Return the next messages of the topics, and whether they are whole events."""
        if not self.has_topics.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECHECK_SECONDS):
                    await self.has_topics.wait()
            return [], False
        batch = await self._stream.next_batch(RECHECK_SECONDS, self._topics)
        return [m.data for m in batch.messages if self._topics.matches(m.topic, m.pbx)], batch.is_whole

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._write(msgspec.json.encode(self._apply(message.data)))
            elif message.type is WSMsgType.BINARY:
                await self._write(msgspec.json.encode({"error": "only JSON as text is accepted"}))

    def _apply(self, text: str) -> dict[str, object]:
        """Apply a message of the client, all of it or nothing, and return the reply."""
        paths = self._request.app[STREAMS].catalog.paths
        try:
            message = msgspec.json.decode(text, type=ClientMessage)
            if (message.subscribe is None) == (message.unsubscribe is None):
                return {"error": 'send {"subscribe": [...]} or {"unsubscribe": [...]}'}
            more, fewer = parse_topics(message.subscribe or (), paths), parse_topics(message.unsubscribe or (), paths)
        except msgspec.MsgspecError as error:
            return {"error": f"not understood: {error}"}
        except ApiError as error:
            return {"error": error.message}
        topics = tuple(topic for topic in dict.fromkeys((*self._topics.topics, *more)) if topic not in fewer)
        if len(topics) > MAX_TOPICS:
            return {"error": f"topic: no more than {MAX_TOPICS}"}
        self._topics = msgspec.structs.replace(self._topics, topics=topics)
        self._stream.filter_changed()
        if topics:
            self.has_topics.set()
        subscribed = [topic if topic == "/" else topic[:-1] for topic in topics]
        return {"subscribed": subscribed, "position": self._stream.position}

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._socket.send_frame(data, WSMsgType.TEXT)
        except TimeoutError:
            raise closing.slow() from None

    async def _close(self, reason: StreamClosed | None) -> None:
        """Close the socket with the reason, and cut off a client that does not read even that."""
        code, text = (reason.close, f"{reason.code}: {reason}") if reason else (1000, "")
        if reason is not None:
            logger.info("stream_ended", path=self._request.path, reason=reason.code)
        try:
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await self._socket.close(code=code, message=text.encode()[:123])
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
