"""The three DELETEs that hang up: of a channel, a parked call, a caller in a queue."""

from aiohttp import web

from api.http.errors import Handler
from api.http.idempotency import command_args
from api.jade.writes import detail_args, write_response
from services.commands.calls import HangupTarget, hang_up


def hangup_handler(target: HangupTarget) -> Handler:
    """Return the handler that hangs up what the path names by its unique id."""

    async def handler(request: web.Request) -> web.Response:
        pbx, unique_id = detail_args(request)
        return write_response(await hang_up(*await command_args(request), target, pbx, unique_id))

    return handler
