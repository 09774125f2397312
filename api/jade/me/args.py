"""Arguments of the views below /me, which show only the caller's own data."""

from aiohttp import web

from api.http.auth import USER
from api.http.views.view import Args, storable_text


def own_list(request: web.Request) -> Args:
    """Return the arguments of a list of the caller's. Users belong to no PBX, so ``?pbx=`` narrows nothing."""
    return (request[USER].uuid,)


def own_detail(request: web.Request) -> Args:
    """Return the arguments of the detail that ends the path, if it is the caller's."""
    return (*own_list(request), storable_text(request.match_info["detail"]))
