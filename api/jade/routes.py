"""Every route of jade."""

from aiohttp import web

from api.jade import core, login, pjsip, root
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [*login.ROUTES, *root.routes(opened=settings.open_views), *core.ROUTES, *pjsip.ROUTES]
