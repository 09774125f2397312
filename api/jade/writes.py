"""Writes of jade: their arguments, and the bare envelope of their responses."""

from urllib.parse import quote

import msgspec
from aiohttp import web

from api.http.errors import Handler
from api.http.idempotency import command_args, outcome_headers
from api.http.views.view import Args, pbx_filter
from api.jade import envelope
from api.jade.resource import detail
from services.commands.act import prior_outcome
from services.commands.decide import Outcome
from services.commands.pbx import reject_line_breaks


def write_response(outcome: Outcome) -> web.Response:
    """Return the envelope, with a result only where one is documented."""
    result = msgspec.json.encode(outcome.result) if outcome.result else None
    return web.Response(
        body=envelope.success(result),
        content_type="application/json",
        charset="utf-8",
        headers=outcome_headers(outcome),
    )


def once(handler: Handler) -> Handler:
    """Return the handler of an act on a row of a view.

    A request that repeats an Idempotency-Key gets the first outcome, although the row may have vanished since.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        prior = await prior_outcome(*await command_args(request))
        return await handler(request) if prior is None else write_response(prior)

    return handle


def detail_args(request: web.Request) -> Args:
    """Return ``?pbx=`` and the end of the path, for an act. Raises Invalid for CR, LF or NUL in the latter."""
    reject_line_breaks(request.match_info["detail"])
    return (pbx_filter(request), *detail(request))


def location_of(request: web.Request, path: str, detail: str) -> str:
    """Return the path of a created object, with /v1 if the request has it."""
    version = "/v1" if request.path.startswith("/v1/") else ""
    return f"{version}{path}/{quote(detail, safe='')}"
