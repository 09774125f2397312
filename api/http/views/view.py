"""Views: one SQL text and one function from rows to a result."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from msgspec import Struct

from api.http.errors import ApiError
from api.http.views.rendering import EnvelopePayload, Pieces, Renderer, Wire, size
from schemas.text import is_storable

Args = tuple[Any, ...]
QueryKey = tuple[str, str, str | None, Args]


def pbx_filter(request: web.Request) -> str | None:
    """Return the PBX that ``?pbx=`` narrows a view to, None for all."""
    name = request.query.get("pbx")
    return name if name is None else storable_text(name)


def storable_text(text: str) -> str:
    """Return the text if PostgreSQL can hold it. Raises ApiError 404: no row has any other text."""
    if not is_storable(text):
        raise ApiError(404, "not found: no name holds NUL or half a character")
    return text


class View(Struct, frozen=True):
    """A read at a path.

    ``models`` are all tables that ``sql`` reads. Its parameters are the PBX ($1, NULL for all) and then ``args``. A
    view of people, or of anything else without a PBX, has no ``pbx``: its parameters are ``args`` alone. The result of
    a view that ``ticks`` depends on the time, so its bytes last one second. With ``takes_now`` the last parameter is
    the time for which the rows are read. ``bind`` makes the parameters of ``args``, where they are too large for the
    key of a cached result. ``past_sql`` returns the same rows for `as_of`, whose tables have no indexes, where ``sql``
    relies on them.
    """

    name: str
    models: tuple[str, ...]
    sql: str
    args: Callable[[web.Request], Args | Awaitable[Args]]
    wire: Wire
    renderer: Renderer
    ticks: bool = False
    pbx: Callable[[web.Request], str | None] | None = pbx_filter
    takes_now: bool = False
    bind: Callable[[Args], Args] | None = None
    past_sql: str = ""


class Query(Struct, frozen=True):
    """A view with the arguments of one request."""

    view: View
    pbx: str | None
    args: Args

    def parameters(self, now: datetime) -> Args:
        """Return the parameters of the SQL, for rows that are read as of ``now``."""
        args = self.args if self.view.bind is None else self.view.bind(self.args)
        args = args if self.view.pbx is None else (self.pbx, *args)
        return (*args, now) if self.view.takes_now else args

    @property
    def key(self) -> QueryKey:
        """Equal for queries with the same result."""
        return (self.view.renderer.name, self.view.name, self.pbx, self.args)


async def query_of(view: View, request: web.Request) -> Query:
    """Return the query that a request makes. Raises ApiError 400 or 404."""
    args = view.args(request)
    if not isinstance(args, tuple):
        args = await args
    return Query(view, None if view.pbx is None else view.pbx(request), args)


class Rendered(Struct, frozen=True):
    """An encoded result (None: not found), its tag, and the headers that name its log position."""

    body: Pieces | None
    tag: str
    headers: dict[str, str]


AsOfRenderer = Callable[[Query, str, str], Awaitable[Rendered]]
"""Renders a query ``as_of`` an instant, in the turn of a user."""


def respond(renderer: Renderer, rendered: Rendered, tags: set[str] | None) -> web.Response:
    """Return a response to a GET whose If-None-Match has these tags. Raises ApiError 404."""
    if rendered.body is None:
        raise ApiError(404, "not found: the requested item", "empty-data", rendered.headers)
    headers = {**rendered.headers, "ETag": f'W/"{rendered.tag}"', "Cache-Control": "private, no-cache"}
    if tags is not None and tags & {rendered.tag, "*"}:
        return web.Response(status=304, headers=headers)
    opening, closing = renderer.wrap(datetime.now(UTC))
    parts = tuple(part for part in (opening, *rendered.body, closing) if part)
    headers["Content-Type"] = renderer.content_type
    headers["Content-Length"] = str(size(parts))
    return web.Response(body=EnvelopePayload(parts, renderer.content_type), headers=headers)
