"""How a jade resource becomes views and routes: a list, and details found by one member."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import decode_object, read_bytes
from api.http.errors import ApiError
from api.http.rendering import ListOf
from api.http.views import Args, View, pbx_filter, storable_text
from api.jade import envelope

NAME = "{detail:(?s:.+)}"


def everything(request: web.Request) -> Args:
    """Ask for the list, of all PBXes or of ``?pbx=``."""
    return (pbx_filter(request), None)


def detail(request: web.Request) -> Args:
    """Ask for what the end of the path names; %2F and a slash in it are the same."""
    return (pbx_filter(request), storable_text(request.match_info["detail"]))


def in_body(member: str) -> Callable[[web.Request], Awaitable[Args]]:
    """Find the key in the JSON body of a GET, whatever its content type says (curl -d); else in the query."""

    async def args(request: web.Request) -> Args:
        body = await read_bytes(request)
        key = decode_object(body).get(member) if body else request.query.get(member)
        if not isinstance(key, str):
            raise ApiError(400, f'the body must be {{"{member}": "<string>"}}')
        return (pbx_filter(request), storable_text(key))

    return args


class Resource(Struct, frozen=True):
    """Things of one kind.

    ``sql`` gives rows whose columns are the wire's members; $1 is the PBX, $2 the detail, both None for all, $3 the
    time if the resource ``ticks``. ``item`` makes the wire's object of a row. A detail that several PBXes have is the
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
        """The list."""
        name = f"{self.name}.list"
        return View(name, self.models, self.sql, self.all_by, ListOf(self.item), envelope.ENVELOPE, self.ticks)

    @property
    def one(self) -> View:
        """One of them."""
        name = f"{self.name}.get"
        return View(name, self.models, self.sql, self.one_by, self._first, envelope.ENVELOPE, self.ticks)

    def _first(self, rows: Sequence[asyncpg.Record]) -> Any:
        return self.item(rows[0]) if rows else None


def route_path(path: str) -> str:
    """Return a path as the router takes it: ``{detail}`` at its end is a name, which may have slashes.

    A proxy may have decoded %2F. Below /me details are uuids, and longer paths follow on them.
    """
    spans = path.endswith("/{detail}") and not path.removeprefix("/v1").startswith("/me/")
    return path.replace("{detail}", NAME if spans else "{detail:[^/]+}")
