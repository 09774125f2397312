"""What the paths below /me share: their views are about the user who asks, and nobody else sees them."""

from aiohttp import web

from api.auth import USER, needs
from api.serving import get
from api.views import Args, View, checked


def mine(request: web.Request) -> Args:
    """Ask for all that is the asker's. What belongs to users belongs to no PBX, so ``?pbx=`` narrows nothing."""
    return (None, request[USER].uuid)


def one_of_mine(request: web.Request) -> Args:
    """Ask for what the end of the path names, if it is the asker's."""
    return (*mine(request), checked(request.match_info["detail"]))


def reads(path: str, view: View) -> list[web.RouteDef]:
    """Routes of a view of the asker's with and without /v1; ``path`` begins with /me."""
    served = get(view)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await served(request)
        # Two users of one browser have the same paths and ETags, and must not get each other's bytes out of its cache.
        response.headers["Vary"] = "Authorization, Cookie"
        return response

    guarded = needs("user", handler)
    return [web.get(start + path.replace("{detail}", "{detail:[^/]+}"), guarded) for start in ("/v1", "")]
