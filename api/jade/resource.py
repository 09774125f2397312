"""How a jade resource becomes views and routes: a list, and details found by one member."""

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Struct

from api.auth import Handler, needs
from api.errors import ApiError
from api.jade import envelope
from api.keys import VIEWS
from api.views import Args, View

Item = Callable[[asyncpg.Record], dict[str, Any]]


class Resource(Struct, frozen=True):
    """``sql`` gives all rows as wire members; $1 is the PBX, $2 the detail (None: the list), $3 the time if it ticks."""

    name: str
    sql: str
    models: tuple[str, ...]
    item: Item = dict
    ticks: bool = False

    @property
    def all(self) -> View:
        """The list, of all PBXes or of ``?pbx=``."""
        return View(f"{self.name}.list", self.models, self.sql, everything, self._list, envelope.success, self.ticks)

    @property
    def one(self) -> View:
        """One row, by the end of the path."""
        return self.by(detail)

    def by(self, args: Callable[[web.Request], Any]) -> View:
        """One row, found by what ``args`` makes of the request; of several PBXes' the first by name."""
        return View(f"{self.name}.get", self.models, self.sql, args, self._first, envelope.success, self.ticks)

    def _list(self, rows: Sequence[asyncpg.Record]) -> Any:
        return {"list": [self.item(row) for row in rows]}

    def _first(self, rows: Sequence[asyncpg.Record]) -> Any:
        return self.item(rows[0]) if rows else None


def everything(request: web.Request) -> Args:
    return (request.query.get("pbx"), None)


def detail(request: web.Request) -> Args:
    return (request.query.get("pbx"), checked(request.match_info["detail"]))


def in_body(member: str) -> Callable[[web.Request], Any]:
    """Find the key in the JSON body of a GET, whatever its content type says (curl -d); else in the query."""

    async def args(request: web.Request) -> Args:
        body = await request.read()
        if body:
            try:
                key = msgspec.json.decode(body, type=dict[str, Any]).get(member)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise ApiError(400, "the body is no JSON object") from None
        else:
            key = request.query.get(member)
        if not isinstance(key, str):
            raise ApiError(400, f'the body must be {{"{member}": "<string>"}}')
        return (request.query.get("pbx"), checked(key))

    return args


def checked(text: str) -> str:
    """Return the text if PostgreSQL can hold it. Raises ApiError 404: what it cannot hold is not there."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ApiError(404, "no such thing")
    return text


def get(view: View) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await request.app[VIEWS].answer(view, request)

    return handler


def admin(resource: Resource, path: str, *more: str) -> list[web.RouteDef]:
    """Routes of a resource below /v1/admin and /admin; ``more`` are other documented forms, as they stand."""
    paths = [f"/v1/admin/{path}", f"/admin/{path}"]
    listed, found = needs("admin", get(resource.all)), needs("admin", get(resource.one))
    return [
        *(web.get(path, listed) for path in paths),
        *(web.get(path + "/{detail:[^/]+}", found) for path in paths),
        *(web.get(path, found if "{detail" in path else listed) for path in more),
    ]
