"""The limits on connections and requests, in all and of one client. The longest idle connection yields to a new one."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import prometheus_client
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from api.http.connections.client_address import client_of, is_trusted, limit_key
from api.http.connections.guarded_connection import BodyTimeoutError, GuardedConnection
from api.http.connections.limits import Limits
from api.http.errors import ApiError, Handler, Problem
from schemas.settings import Network

REASONS = ("headers", "body", "stalled", "idle", "address", "full", "requests")
LOG_SECONDS = 60.0

logger = structlog.get_logger()


class Connections:
    """All connections of a server, the idle ones in the order in which they began to idle.

    A connection idles while the server waits for its client: for headers, a body, or the next request. Long polls and
    streams do not idle. Trusted proxies have no cap of their own, and their connections never yield.
    """

    def __init__(
        self,
        trusted: tuple[Network, ...],
        registry: CollectorRegistry,
        limits: Limits,
        failure: Callable[[Problem], web.Response],
    ) -> None:
        self.limits = limits
        self.failure = failure
        self.trusted = trusted
        self.registry = registry
        self._open: dict[object, GuardedConnection] = {}
        self._of_address: Counter[str] = Counter()
        self._idle: OrderedDict[GuardedConnection, None] = OrderedDict()
        self._idle_of_address: dict[str, OrderedDict[GuardedConnection, None]] = {}
        self._requests: Counter[str] = Counter()
        self._unlogged: dict[str, int] = {}
        self._closed = prometheus_client.Counter(
            "ringledger_http_connections_closed",
            "Connections that a limit closed, and connections and requests that it refused.",
            ("reason",),
            registry=registry,
        )
        for reason in REASONS:
            self._closed.labels(reason)
        gauge = prometheus_client.Gauge("ringledger_http_connections", "Open connections.", registry=registry)
        gauge.set_function(lambda: len(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: GuardedConnection, peer: str, file: int) -> int | None:
        """Take a connection from ``peer`` whose file number is ``file``; an idle one is closed for it if necessary.

        Return None, or the status of the refusal, 0 for none. A new file has the lowest free number, which shows how
        many are open, whatever opened them.
        """
        address = None if is_trusted(peer, self.trusted) else limit_key(peer)
        limits = self.limits
        if address is not None and self._of_address[address] >= limits.per_client:
            if not self._close_first(self._idle_of_address.get(address)):
                self.count("address", peer)
                return 429
        elif len(self._open) >= limits.connections or file >= limits.files - limits.reserve:
            has_files = file < limits.files - limits.last_files
            if not self._close_first(self._idle) or not has_files:
                self.count("full", peer)
                return 503 if has_files else 0
        connection.address = address
        self._open[connection.handler] = connection
        if address is not None:
            self._of_address[address] += 1
        self.idle(connection)
        return None

    def _close_first(self, idle: OrderedDict[GuardedConnection, None] | None) -> bool:
        if not idle:
            return False
        connection = next(iter(idle))
        self.count("idle", connection.address or "")
        self.forget(connection)
        connection.abort()
        return True

    def forget(self, connection: GuardedConnection) -> None:
        """Stop counting a connection."""
        if self._open.pop(connection.handler, None) is None:
            return
        self.busy(connection)
        if (address := connection.address) is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def idle(self, connection: GuardedConnection) -> None:
        """Note that the connection begins to idle."""
        if connection.address is not None and connection.handler in self._open:
            self._idle[connection] = None
            self._idle_of_address.setdefault(connection.address, OrderedDict())[connection] = None

    def busy(self, connection: GuardedConnection) -> None:
        """Note that the connection no longer idles."""
        if connection in self._idle:
            assert connection.address is not None
            del self._idle[connection]
            of_address = self._idle_of_address[connection.address]
            del of_address[connection]
            if not of_address:
                del self._idle_of_address[connection.address]

    def of(self, request: web.Request) -> GuardedConnection | None:
        """Return the connection of a request, None if it is closed or belongs to a server without limits."""
        return self._open.get(request.protocol)

    def count(self, reason: str, client: str) -> None:
        """Count a connection that a limit closes. The first is logged at once, those of the next minute together."""
        self._closed.labels(reason).inc()
        if reason in self._unlogged:
            self._unlogged[reason] += 1
        else:
            self._unlogged[reason] = 0
            asyncio.get_running_loop().call_later(LOG_SECONDS, self._log_rest, reason)
            logger.warning("connections_closed", reason=reason, count=1, client=client, open=len(self))

    def _log_rest(self, reason: str) -> None:
        count = self._unlogged.pop(reason)
        if count:
            logger.warning("connections_closed", reason=reason, count=count, open=len(self))

    @contextmanager
    def share(self, request: web.Request) -> Iterator[None]:
        """Count a request that came through a trusted proxy for its client. Raises ApiError 429 beyond the limit.

        A request without X-Forwarded-For is the proxy's own, and is not counted.
        """
        if "X-Forwarded-For" not in request.headers:
            yield
            return
        client = client_of(request)
        if self._requests[client] >= self.limits.per_client:
            self.count("requests", client)
            raise ApiError(429, "too many requests at once", "too-many", {"Retry-After": "1"})
        self._requests[client] += 1
        try:
            yield
        finally:
            self._requests[client] -= 1
            if not self._requests[client]:
                del self._requests[client]


@web.middleware
async def limit_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request within the limits of its client. Raises ApiError 408 for a late body, and 429."""
    connections = request.app[CONNECTIONS]
    connection = connections.of(request)
    if connection is None:
        return await handler(request)
    connection.begin_request(request)
    try:
        if connection.address is not None:
            return await handler(request)
        with connections.share(request):
            return await handler(request)
    except BodyTimeoutError:
        raise ApiError(408, "the body did not arrive in time", headers={"Connection": "close"}) from None
    finally:
        connection.end_request()


CONNECTIONS = web.AppKey("connections", Connections)
