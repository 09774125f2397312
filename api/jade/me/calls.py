"""POST /me/calls: a call between the caller's own phone and another user's. The seed does not have it."""

from aiohttp import web
from msgspec import Struct

from api.http.auth import USER
from api.http.body import Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import pbx_filter
from api.jade.writes import write_response
from services.commands.calls import Call, call


class PostBody(Struct, frozen=True):
    """Body: the callee, a user or one of a user's contacts; ``uuid_my_contact`` names the caller's phone."""

    uuid_user: Uuid | None = None
    uuid_contact: Uuid | None = None
    uuid_my_contact: Uuid | None = None


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    new = Call(*(uuid and uuid.lower() for uuid in (body.uuid_user, body.uuid_contact, body.uuid_my_contact)))
    return write_response(await call(*await command_args(request), request[USER], new, pbx_filter(request)))
