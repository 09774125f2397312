"""GET /v1/events: messages as server-sent events, for `EventSource` and `curl -N`."""

import asyncio
from collections.abc import Iterator

import msgspec
import structlog
from aiohttp import web

from api.stream import closing as ended
from api.stream.client_stream import Stream
from api.stream.closing import EndedError
from api.stream.hub import STREAMS
from api.stream.messages import Message
from api.stream.params import CHECK_SECONDS, KEEP_ALIVE_SECONDS, STALL_SECONDS, begin, check, wanted
from api.stream.topics import Wanted

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would wait for more
}
PIECE = 64 << 10
RETRY_MS = 2_000
LAST_WORDS_SECONDS = 2.0

logger = structlog.get_logger()


async def events(request: web.Request) -> web.StreamResponse:
    place, asked = begin(request), wanted(request)
    if not asked.topics:
        asked = msgspec.structs.replace(asked, topics=("/",))
    async with request.app[STREAMS].open(place) as stream:
        response = web.StreamResponse(headers={**HEADERS, "X-Ledger-Position": str(stream.position)})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await response.write(b"retry: %d\n%s" % (RETRY_MS, b"" if place else reached(stream.position)))
            await _send(request, response, stream, asked)
        except EndedError as reason:
            await _end(request, response, reason)
        except ConnectionResetError:
            logger.info("reader_gone", path=request.path)
        return response


async def _send(request: web.Request, response: web.StreamResponse, stream: Stream, asked: Wanted) -> None:
    """Send what comes, until the client goes or there is a reason to end. Raises EndedError, ConnectionResetError."""
    clock = asyncio.get_running_loop().time
    checked = sent = clock()
    while True:
        batch = await stream.more(CHECK_SECONDS, asked)
        said = batch.written.get(asked)
        if said is None:
            said = batch.written[asked] = list(
                pieces([written(m) for m in batch.messages if asked.takes(m.topic, m.pbx)])
            )
        now = clock()
        if now - checked >= CHECK_SECONDS:
            check(request)
            checked = now
        if not said and now - sent >= KEEP_ALIVE_SECONDS:
            said = [reached(stream.position) if batch.whole else b": nothing new\n\n"]
        if said:
            await _write(response, stream, said)
            sent = now
        elif request.transport is None or request.transport.is_closing():
            raise ConnectionResetError


async def _write(response: web.StreamResponse, stream: Stream, said: list[bytes]) -> None:
    """Write piece by piece: who takes one of them now and then is slow, but reads."""
    for piece in said:
        stream.check()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(piece)
        except TimeoutError:
            raise ended.slow() from None


def pieces(said: list[bytes]) -> Iterator[bytes]:
    """Join what is said to pieces of a size that a socket takes at once."""
    start = size = 0
    for end, one in enumerate(said, 1):
        size += len(one)
        if size >= PIECE or end == len(said):
            yield b"".join(said[start:end])
            start, size = end, 0


def written(message: Message) -> bytes:
    """Write a message as an event, which JSON on one line always is."""
    return b"id: %b\ndata: %b\n\n" % (message.id.encode(), message.data)


def reached(position: int) -> bytes:
    """Write an event without data: nothing is dispatched, but the client knows that it has come so far."""
    return b": nothing new up to here\nid: %d\n\n" % position


async def _end(request: web.Request, response: web.StreamResponse, reason: EndedError) -> None:
    """Say why, to who still reads; to the others there is nothing to say."""
    logger.info("stream_ended", path=request.path, reason=reason.code)
    said = msgspec.json.encode({"error": str(reason), "code": reason.code})
    try:
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            # With an empty id a browser forgets where it was, and begins again without one.
            forget = b"id\n" if reason.code == "rewound" else b""
            await response.write(b"event: error\n%bdata: %b\n\n" % (forget, said))
            await response.write_eof()
    except (TimeoutError, ConnectionResetError):
        if request.transport is not None:
            request.transport.abort()
