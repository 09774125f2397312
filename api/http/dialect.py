"""Dialects: how each one authenticates, routes and refuses. The matched route decides which one applies."""

from collections.abc import Callable, Sequence

from aiohttp import web
from msgspec import Struct

from api.http.auth import Authenticate
from api.http.errors import Problem
from api.http.operation import Operation, routes_of


class Dialect(Struct, frozen=True):
    """One dialect.

    ``name`` goes into every event that the dialect causes. ``mount`` is the prefix of its paths. ``pattern`` returns
    the aiohttp path of a documented path.
    """

    name: str
    mount: str
    authenticate: Authenticate
    failure: Callable[[Problem], web.Response]
    pattern: Callable[[str], str]
    operations: tuple[Operation, ...]


class Dialects:
    """The dialects of an application, by route and by mount."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = sorted(dialects, key=lambda dialect: len(dialect.mount), reverse=True)
        self._of_route: dict[web.AbstractRoute, Dialect] = {}
        self._writing: set[web.AbstractRoute] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of all dialects to a router."""
        for dialect in self._dialects:
            for definition, is_read in routes_of(dialect.operations, dialect.authenticate, dialect.pattern):
                for route in definition.register(router):
                    self._of_route[route] = dialect
                    if not is_read:
                        self._writing.add(route)

    def of(self, request: web.Request) -> Dialect:
        """Return the dialect of the matched route; for any other request, the one with the longest mount."""
        dialect = self._of_route.get(request.match_info.route)
        return dialect or next(one for one in self._dialects if request.path.startswith(one.mount))

    def is_write(self, request: web.Request) -> bool:
        """Return whether the matched operation has effects, whatever its method."""
        return request.match_info.route in self._writing


DIALECTS = web.AppKey("dialects", Dialects)


def dialect_of(request: web.Request) -> Dialect:
    """Return the dialect of a request."""
    return request.app[DIALECTS].of(request)
