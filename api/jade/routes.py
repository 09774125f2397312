"""Every route of jade."""

from aiohttp import web

from api.jade import core, login
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [*login.ROUTES, *core.ROUTES]
