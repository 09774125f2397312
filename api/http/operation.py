"""An operation: one row of a dialect's table, and the aiohttp routes of such a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from aiohttp import web
from msgspec import Struct

from api.http.auth import Authenticate, require_permission
from api.http.errors import ApiError, Handler
from api.http.origins import without_cookie
from api.http.views.handlers import vary_by_user, view_handler
from api.http.views.view import View


class Operation(Struct, frozen=True):
    """One documented operation.

    ``id`` is its id in contract/operations.tsv. ``paths`` are all documented forms, with parameters as ``{name}``.
    An empty ``permission`` makes it public. ``where`` selects it by query parameters, after method and path.
    ``writes`` marks a GET that has effects. The response of a ``personal`` operation depends on the caller.
    """

    id: str
    method: str
    paths: tuple[str, ...]
    serve: View | Handler
    permission: str
    where: Mapping[str, str] = {}
    writes: bool = False
    personal: bool = False

    @property
    def is_read(self) -> bool:
        """Whether the operation has no effects."""
        return self.method == "GET" and not self.writes


def handler_of(operation: Operation, authenticate: Authenticate) -> Handler:
    """Return the handler of an operation, behind its permission."""
    handler = view_handler(operation.serve) if isinstance(operation.serve, View) else operation.serve
    if operation.personal:
        handler = vary_by_user(handler)
    if operation.permission:
        is_watched = operation.is_read
        handler = require_permission(operation.permission, handler, authenticate, is_watched=is_watched)
    return without_cookie(handler) if operation.method == "GET" and operation.writes else handler


def routes_of(
    operations: Iterable[Operation], authenticate: Authenticate, pattern: Callable[[str], str]
) -> list[tuple[web.RouteDef, bool]]:
    """Return the routes of a table, and of each whether it only reads. ``pattern`` makes an aiohttp path of a path.

    HEAD is routed like GET, except where a GET writes.
    """
    by_path: dict[str, dict[str, list[Operation]]] = {}
    for operation in operations:
        for path in operation.paths:
            by_path.setdefault(path, {}).setdefault(operation.method, []).append(operation)
    routes = []
    for path, by_method in by_path.items():
        for method, group in by_method.items():
            is_read = all(operation.is_read for operation in group)
            handler = _chosen_by_query([(one.where, handler_of(one, authenticate)) for one in group])
            make = web.get(pattern(path), handler, allow_head=is_read) if method == "GET" else None
            routes.append((make or web.route(method, pattern(path), handler), is_read))
    return routes


def _chosen_by_query(choices: Sequence[tuple[Mapping[str, str], Handler]]) -> Handler:
    """Return a handler that calls the first one whose query parameters the request has."""
    if len(choices) == 1 and not choices[0][0]:
        return choices[0][1]

    async def handler(request: web.Request) -> web.StreamResponse:
        for where, serve in choices:
            if all(request.query.get(name) == value for name, value in where.items()):
                return await serve(request)
        raise ApiError(404, "not found: an operation with these parameters")

    return handler
