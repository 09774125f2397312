"""GET /v1/ledger/explain: the events that a call record, a statistic or a row of a read model came from."""

from aiohttp import web

from api.http.auth import requester_uuid, require_permission
from api.http.errors import ApiError
from api.http.queues import QUEUES
from api.ledger.explain import call as explain_call
from api.ledger.explain import row as explain_row
from api.ledger.explain import statistics as explain_statistics

KINDS = {"call": explain_call.explain, "statistics": explain_statistics.explain, "model": explain_row.explain}


async def explain(request: web.Request) -> web.Response:
    kinds = [kind for kind in KINDS if kind in request.query]
    if len(kinds) != 1:
        raise ApiError(400, "exactly one is needed: call=<unique id>, statistics=<day or month>, or model=<name>")
    queue, user = request.app[QUEUES].explain, requester_uuid(request)
    with queue.reserve(user):
        async with queue.turn(user):
            return await KINDS[kinds[0]](request)


ROUTES = [web.get("/v1/ledger/explain", require_permission("admin", explain))]
