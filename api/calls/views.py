"""GET /v1/calls and /v1/calls/{id}: calls, newest start first, and one call by any of its ids."""

from functools import lru_cache

import msgspec
from aiohttp import web

from api.app_keys import VIEWS
from api.calls import wire
from api.calls.filters import call_filter
from api.http.auth import requester_uuid, require_permission
from api.http.query import QueryParams
from api.http.views.rendering import JSON, PiecesOf, Renderer
from api.http.views.view import Args, View, storable_text
from services.calls.listing import list_sql, past_sql
from services.calls.one import OF_ID, OF_PBX_AND_ID

NDJSON = "application/x-ndjson"
MODELS = ("calls",)

JSON_RENDERER = Renderer("calls", JSON, lambda made: made, lambda _now: (b"", b""))
NDJSON_RENDERER = Renderer("calls.ndjson", NDJSON, lambda made: made, lambda _now: (b"", b""))
ONE_RENDERER = Renderer("calls.one", JSON, msgspec.json.encode, lambda _now: (b"", b""))


def pbx(request: web.Request) -> str | None:
    return QueryParams(request, is_strict=False).text("pbx")


def list_args(request: web.Request) -> Args:
    return call_filter(request).args


@lru_cache(maxsize=1024)
def list_view(names: tuple[str, ...], *, is_full: bool, is_ndjson: bool) -> View:
    """Return the view of a list by these filters."""
    pieces = (wire.ndjson_pieces if is_ndjson else wire.json_pieces)(is_full=is_full)
    renderer = NDJSON_RENDERER if is_ndjson else JSON_RENDERER
    name = f"calls.list {' '.join(names)} {'full' if is_full else 'summary'}"
    return View(
        name,
        MODELS,
        list_sql(names, is_full=is_full),
        list_args,
        PiecesOf(pieces),
        renderer,
        pbx=pbx if "pbx" in names else None,
        past_sql=past_sql(names, is_full=is_full),
    )


def id_args(request: web.Request) -> Args:
    QueryParams(request, "pbx", "wait", "as_of")
    return (storable_text(request.match_info["id"]),)


ONE = View("calls.one", MODELS, OF_ID, id_args, wire.one, ONE_RENDERER, pbx=None)
ONE_OF_PBX = View("calls.one.pbx", MODELS, OF_PBX_AND_ID, id_args, wire.one, ONE_RENDERER, pbx=pbx)


async def calls(request: web.Request) -> web.StreamResponse:
    filters = call_filter(request)
    form = QueryParams(request, is_strict=False).word("format", "json", "ndjson")
    is_ndjson = form == "ndjson" or (form is None and NDJSON in request.headers.get("Accept", ""))
    view = list_view(filters.names, is_full=filters.is_full, is_ndjson=is_ndjson)
    response = await request.app[VIEWS].serve(view, request, requester_uuid(request))
    response.headers["Vary"] = "Accept"
    return response


async def call(request: web.Request) -> web.StreamResponse:
    view = ONE_OF_PBX if "pbx" in request.query else ONE
    return await request.app[VIEWS].serve(view, request, requester_uuid(request))


ROUTES = [
    web.get("/v1/calls", require_permission("supervisor", calls)),
    web.get("/v1/calls/{id:(?s:.+)}", require_permission("supervisor", call)),
]
