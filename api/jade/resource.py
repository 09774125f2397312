"""Resources of jade: one SQL query served as a list and a detail."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import decode_object, read_bytes
from api.http.rendering import ListOf
from api.http.views import Args, View, pbx_filter, storable_text
from api.jade import envelope
from services.runtime.errors import Invalid


def everything(request: web.Request) -> Args:
    """Return the arguments of the list, of all PBXes or of ``?pbx=``."""
    return (pbx_filter(request), None)


def detail(request: web.Request) -> Args:
    """Return the arguments of the detail that ends the path; %2F and a slash in it are the same."""
    return (pbx_filter(request), storable_text(request.match_info["detail"]))


def in_body(member: str) -> Callable[[web.Request], Awaitable[Args]]:
    """Return a reader of the key in the JSON body of a GET, whatever its content type (curl -d), or in the query."""

    async def args(request: web.Request) -> Args:
        body = await read_bytes(request)
        key = decode_object(body).get(member) if body else request.query.get(member)
        if not isinstance(key, str):
            raise Invalid(f'the body must be {{"{member}": "<string>"}}')
        return (pbx_filter(request), storable_text(key))

    return args


class Resource(Struct, frozen=True):
    """One SQL query served as a list and a detail.

    The columns of ``sql`` are the wire's members. $1 is the PBX and $2 the detail, both None for all; $3 is the time,
    for a resource that ``ticks``. ``item`` turns a row into the wire's object. A detail that several PBXes have is the
    first PBX's, unless ``?pbx=`` names another.
    """

    name: str
    sql: str
    models: tuple[str, ...]
    item: Callable[[asyncpg.Record], dict[str, Any]] = dict
    ticks: bool = False
    all_by: Callable[[web.Request], Args] = everything
    one_by: Callable[[web.Request], Args | Awaitable[Args]] = detail

    @property
    def all(self) -> View:
        """The view of the list."""
        name = f"{self.name}.list"
        return View(name, self.models, self.sql, self.all_by, ListOf(self.item), envelope.ENVELOPE, self.ticks)

    @property
    def one(self) -> View:
        """The view of the detail."""
        name = f"{self.name}.get"
        return View(name, self.models, self.sql, self.one_by, self._first, envelope.ENVELOPE, self.ticks)

    def _first(self, rows: Sequence[asyncpg.Record]) -> Any:
        return self.item(rows[0]) if rows else None
