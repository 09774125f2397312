"""Resources of jade: one SQL query served as a list and a detail."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import decode_object, read_bytes
from api.http.views.rendering import ListOf
from api.http.views.view import Args, View, pbx_filter, storable_text
from api.jade import envelope
from services.runtime.errors import Invalid


def everything(_request: web.Request) -> Args:
    """Return the arguments of a list."""
    return (None,)


def detail(request: web.Request) -> Args:
    """Return the arguments of a detail: the end of the path. %2F and a slash in it are the same."""
    return (storable_text(request.match_info["detail"]),)


def in_body(member: str) -> Callable[[web.Request], Awaitable[Args]]:
    """Return a reader of the key in the JSON body of a GET, whatever its content type (curl -d), or in the query."""

    async def args(request: web.Request) -> Args:
        body = await read_bytes(request)
        key = decode_object(body).get(member) if body else request.query.get(member)
        if not isinstance(key, str):
            raise Invalid(f'the body must be {{"{member}": "<string>"}}')
        return (storable_text(key),)

    return args


def columns(row: asyncpg.Record, _now: datetime) -> dict[str, Any]:
    """Return the columns of a row as they are."""
    return dict(row)


class Resource(Struct, frozen=True):
    """One SQL query served as a list and a detail.

    The parameters of ``sql`` are the PBX ($1, if there is a ``pbx``) and the key of the detail, both NULL for all.
    ``item`` makes the wire's object of a row and the time; it depends on the time if the resource ``ticks``. If several
    PBXes have a detail, the first PBX's is served, unless ``?pbx=`` names another.
    """

    name: str
    sql: str
    models: tuple[str, ...]
    item: Callable[[asyncpg.Record, datetime], dict[str, Any]] = columns
    ticks: bool = False
    all_by: Callable[[web.Request], Args] = everything
    one_by: Callable[[web.Request], Args | Awaitable[Args]] = detail
    pbx: Callable[[web.Request], str | None] | None = pbx_filter

    @property
    def all(self) -> View:
        """The list."""
        name, wire = f"{self.name}.list", ListOf(self.item)
        return View(name, self.models, self.sql, self.all_by, wire, envelope.RENDERER, self.ticks, self.pbx)

    @property
    def one(self) -> View:
        """The detail."""
        name = f"{self.name}.get"
        return View(name, self.models, self.sql, self.one_by, self._first, envelope.RENDERER, self.ticks, self.pbx)

    def _first(self, rows: Sequence[asyncpg.Record], now: datetime) -> Any:
        return self.item(rows[0], now) if rows else None
