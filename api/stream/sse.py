"""GET /v1/events: messages as server-sent events, for `EventSource` and `curl -N`."""

import asyncio
from collections.abc import Iterator

import msgspec
import structlog
from aiohttp import web

from api.stream import closing
from api.stream.client_stream import ClientStream
from api.stream.closing import StreamClosed
from api.stream.hub import STREAMS
from api.stream.messages import StreamMessage
from api.stream.params import KEEP_ALIVE_SECONDS, RECHECK_SECONDS, STALL_SECONDS, recheck_token, start_id, topic_filter
from api.stream.topics import TopicFilter

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would wait for more
}
CHUNK_BYTES = 64 << 10
RETRY_MS = 2_000
CLOSE_SECONDS = 2.0

logger = structlog.get_logger()


async def events(request: web.Request) -> web.StreamResponse:
    start, topics = start_id(request), topic_filter(request)
    if not topics.topics:
        topics = msgspec.structs.replace(topics, topics=("/",))
    async with request.app[STREAMS].open(start) as stream:
        response = web.StreamResponse(headers={**HEADERS, "X-Ledger-Position": str(stream.position)})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await response.write(b"retry: %d\n%s" % (RETRY_MS, b"" if start else encode_position(stream.position)))
            await _send(request, response, stream, topics)
        except StreamClosed as reason:
            await _close(request, response, reason)
        except ConnectionResetError:
            logger.info("reader_gone", path=request.path)
        return response


async def _send(request: web.Request, response: web.StreamResponse, stream: ClientStream, topics: TopicFilter) -> None:
    """Send messages until the client leaves or the stream closes. Raises StreamClosed, ConnectionResetError."""
    clock = asyncio.get_running_loop().time
    checked_at = sent_at = clock()
    while True:
        batch = await stream.next_batch(RECHECK_SECONDS, topics)
        parts = batch.encoded.get(topics)
        if parts is None:
            matching = [encode_message(m) for m in batch.messages if topics.matches(m.topic, m.pbx)]
            parts = batch.encoded[topics] = list(chunks(matching))
        now = clock()
        if now - checked_at >= RECHECK_SECONDS:
            recheck_token(request)
            checked_at = now
        if not parts and now - sent_at >= KEEP_ALIVE_SECONDS:
            parts = [encode_position(stream.position) if batch.is_whole else b": nothing new\n\n"]
        if parts:
            await _write(response, stream, parts)
            sent_at = now
        elif request.transport is None or request.transport.is_closing():
            raise ConnectionResetError


async def _write(response: web.StreamResponse, stream: ClientStream, parts: list[bytes]) -> None:
    """Write part by part: a client that takes one of them now and then is slow, but reads."""
    for part in parts:
        stream.check()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(part)
        except TimeoutError:
            raise closing.slow() from None


def chunks(parts: list[bytes]) -> Iterator[bytes]:
    """Join parts to chunks of a size that a socket takes at once."""
    start = size = 0
    for end, part in enumerate(parts, 1):
        size += len(part)
        if size >= CHUNK_BYTES or end == len(parts):
            yield b"".join(parts[start:end])
            start, size = end, 0


def encode_message(message: StreamMessage) -> bytes:
    """Return a message as an event. Its JSON is always one line."""
    return b"id: %b\ndata: %b\n\n" % (message.id.encode(), message.data)


def encode_position(position: int) -> bytes:
    """Return an event without data: the client dispatches nothing, but stores the position as its last id."""
    return b": nothing new up to here\nid: %d\n\n" % position


async def _close(request: web.Request, response: web.StreamResponse, reason: StreamClosed) -> None:
    """Send the reason, and close the connection."""
    logger.info("stream_ended", path=request.path, reason=reason.code)
    data = msgspec.json.encode({"error": str(reason), "code": reason.code})
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            # An empty id makes a browser forget its last one, and start again without an id.
            forget = b"id\n" if reason.code == "rewound" else b""
            await response.write(b"event: error\n%bdata: %b\n\n" % (forget, data))
            await response.write_eof()
    except (TimeoutError, ConnectionResetError):
        if request.transport is not None:
            request.transport.abort()
