"""GET /v1/events: messages as server-sent events, for `EventSource` and `curl -N`."""

import asyncio
from collections.abc import Iterator

import msgspec
import structlog
from aiohttp import web

from api.stream import closing
from api.stream.client_stream import ClientStream
from api.stream.closing import StreamClosedError
from api.stream.hub import STREAMS
from api.stream.messages import Message
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
    place, asked = start_id(request), topic_filter(request)
    if not asked.topics:
        asked = msgspec.structs.replace(asked, topics=("/",))
    async with request.app[STREAMS].open(place) as stream:
        response = web.StreamResponse(headers={**HEADERS, "X-Ledger-Position": str(stream.position)})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await response.write(b"retry: %d\n%s" % (RETRY_MS, b"" if place else encode_position(stream.position)))
            await _send(request, response, stream, asked)
        except StreamClosedError as reason:
            await _end(request, response, reason)
        except ConnectionResetError:
            logger.info("reader_gone", path=request.path)
        return response


async def _send(request: web.Request, response: web.StreamResponse, stream: ClientStream, asked: TopicFilter) -> None:
    """Send what comes, until the client goes or there is a reason to end. Raises EndedError, ConnectionResetError."""
    clock = asyncio.get_running_loop().time
    checked = sent = clock()
    while True:
        batch = await stream.next_batch(RECHECK_SECONDS, asked)
        said = batch.encoded.get(asked)
        if said is None:
            said = batch.encoded[asked] = list(
                chunks([encode_message(m) for m in batch.messages if asked.matches(m.topic, m.pbx)])
            )
        now = clock()
        if now - checked >= RECHECK_SECONDS:
            recheck_token(request)
            checked = now
        if not said and now - sent >= KEEP_ALIVE_SECONDS:
            said = [encode_position(stream.position) if batch.whole else b": nothing new\n\n"]
        if said:
            await _write(response, stream, said)
            sent = now
        elif request.transport is None or request.transport.is_closing():
            raise ConnectionResetError


async def _write(response: web.StreamResponse, stream: ClientStream, said: list[bytes]) -> None:
    """Write piece by piece: who takes one of them now and then is slow, but reads."""
    for piece in said:
        stream.check()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(piece)
        except TimeoutError:
            raise closing.slow() from None


def chunks(said: list[bytes]) -> Iterator[bytes]:
    """Join what is said to pieces of a size that a socket takes at once."""
    start = size = 0
    for end, one in enumerate(said, 1):
        size += len(one)
        if size >= CHUNK_BYTES or end == len(said):
            yield b"".join(said[start:end])
            start, size = end, 0


def encode_message(message: Message) -> bytes:
    """Write a message as an event, which JSON on one line always is."""
    return b"id: %b\ndata: %b\n\n" % (message.id.encode(), message.data)


def encode_position(position: int) -> bytes:
    """Write an event without data: nothing is dispatched, but the client knows that it has come so far."""
    return b": nothing new up to here\nid: %d\n\n" % position


async def _end(request: web.Request, response: web.StreamResponse, reason: StreamClosedError) -> None:
    """Say why, to who still reads; to the others there is nothing to say."""
    logger.info("stream_ended", path=request.path, reason=reason.code)
    said = msgspec.json.encode({"error": str(reason), "code": reason.code})
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            # With an empty id a browser forgets where it was, and begins again without one.
            forget = b"id\n" if reason.code == "rewound" else b""
            await response.write(b"event: error\n%bdata: %b\n\n" % (forget, said))
            await response.write_eof()
    except (TimeoutError, ConnectionResetError):
        if request.transport is not None:
            request.transport.abort()
