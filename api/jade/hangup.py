"""The three DELETEs that hang a channel up: of a channel, a parked call, a caller in a queue."""

from aiohttp import web

from api.http.errors import Handler
from api.jade.writes import answer, named, only, seen
from schemas.acts.channel import ChannelHangup
from services.commands.act import act


def hangs_up(model: str, sql: str) -> Handler:
    """Make the handler; ``sql`` finds ``pbx`` and ``channel`` in ``model``: $1 is the PBX or None, $2 the unique id."""

    async def handler(request: web.Request) -> web.Response:
        args = named(request)
        row = await only(request, sql, args)
        decided = await act(request, row["pbx"], ChannelHangup(row["channel"]))
        await seen(request, model, sql, args, lambda rows: not rows)
        return answer(decided)

    return handler
