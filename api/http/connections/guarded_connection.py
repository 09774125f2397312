"""One connection, with time limits for the headers, for the body, and for the client's reading of the response."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from aiohttp import StreamReader, web

from api.http.errors import Problem

if TYPE_CHECKING:
    from api.http.connections.connections import Connections

KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may wait for its next request. nginx closes its own after 60 s, before this limit."""
LINGER_SECONDS = 1.0
"""How long the rest of a request is read after a refusal; unread bytes would make the kernel drop the response."""


class BodyTimeoutError(TimeoutError):
    """A body was not complete in time."""


class GuardedConnection(asyncio.Protocol):
    """Passes a connection on to aiohttp's protocol, which has no limits for headers, bodies and slow readers.

    ``address`` is what the connection counts for, None for a trusted proxy's.
    """

    def __init__(self, connections: "Connections", handler: asyncio.Protocol) -> None:
        self.handler = handler
        self.address: str | None = None
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._peer = ""
        self._is_passed_on = False
        self._is_closing = False
        self._is_in_request = False
        self._has_bytes = False
        self._body: StreamReader
        self._deadline = 0.0
        self._expire: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the connection on, or refuse it."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = (transport.get_extra_info("peername") or ("",))[0]
        status = self._connections.admit(self, self._peer, transport.get_extra_info("socket").fileno())
        if status is None:
            self._is_passed_on = True
            self.handler.connection_made(transport)
            self._await_headers()
        elif status:
            self._refuse(status)
        else:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; the first ones of a request start the time for its headers."""
        if self._is_closing:
            return
        if not self._is_in_request:
            self._has_bytes = True
            if self._expire is None:
                self._await_headers()
        self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end of the client's bytes on."""
        return None if self._is_closing else self.handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._is_closing = True
        self._expire = None
        if self._timer is not None:
            self._timer.cancel()
        self._stop_watching()
        self._connections.forget(self)
        if self._is_passed_on:
            self.handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch a client that reads slowly: some bytes must leave in each interval."""
        self.handler.pause_writing()
        self._watch(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Let the handler write again."""
        self._stop_watching()
        self.handler.resume_writing()

    def begin_request(self, request: web.Request) -> None:
        """Start the time for the body, if not all of it is here with the headers."""
        self._is_in_request, self._has_bytes = True, False
        self._body = request.content
        if not self._body.is_eof():
            self._after(self._connections.limits.body_seconds, self._expire_body)
        self._body.on_eof(self._end_body)

    def _end_body(self) -> None:
        self._expire = None
        self._connections.busy(self)

    def _expire_body(self) -> None:
        self._connections.count("body", self._peer)
        self._body.set_exception(BodyTimeoutError())

    def end_request(self) -> None:
        """Let the connection idle until the next request; aiohttp closes it when none comes."""
        self._is_in_request = False
        self._expire = None
        self._connections.idle(self)

    def abort(self) -> None:
        """Close the connection at once."""
        self._is_closing = True
        self._transport.abort()

    def _await_headers(self) -> None:
        self._after(self._connections.limits.headers_seconds, self._expire_headers)

    def _expire_headers(self) -> None:
        self._connections.count("headers", self._peer)
        if self._has_bytes:
            self._refuse(408)
        else:
            self.abort()

    def _after(self, seconds: float, expire: Callable[[], None]) -> None:
        """Call ``expire`` after a time, unless ``_expire`` has been set to something else by then.

        A timer stays when it is not needed any more, and looks when it ends: most requests need no timer of their own.
        """
        self._deadline = self._loop.time() + seconds
        self._expire = expire
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        expire = self._expire
        if expire is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            self._expire = None
            expire()

    def _watch(self, size: int) -> None:
        def look() -> None:
            left = self._transport.get_write_buffer_size()
            if left < size:
                self._watch(left)
            else:
                self._connections.count("stalled", self._peer)
                self.abort()

        self._stall = self._loop.call_later(self._connections.limits.stall_seconds, look)

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _refuse(self, status: int) -> None:
        """Send a refusal without a request, and close the connection."""
        self._is_closing = True
        self._connections.forget(self)
        if self._transport.is_closing():
            return
        self._transport.write(self._refusal(status))
        self._transport.write_eof()
        self._after(LINGER_SECONDS, self.abort)

    def _refusal(self, status: int) -> bytes:
        reason = HTTPStatus(status).phrase
        response = self._connections.failure(Problem(status, reason.lower()))
        body = response.body
        assert isinstance(body, bytes)
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: {response.headers['Content-Type']}\r\n"
            f"Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
