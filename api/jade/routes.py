"""Every route of jade."""

from aiohttp import web

from api.jade import configurations, core, login, park, pjsip, queue, root, sections, trunks
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [
        *login.ROUTES,
        *root.routes(opened=settings.open_views),
        *configurations.ROUTES,
        *core.ROUTES,
        *park.ROUTES,
        *pjsip.ROUTES,
        *queue.ROUTES,
        *sections.ROUTES,
        *trunks.ROUTES,
    ]
