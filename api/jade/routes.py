"""Every route of jade."""

from aiohttp import web

from api.jade import contacts, core, info, login, park, permissions, pjsip, queue, root, users
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [
        *login.ROUTES,
        *root.routes(opened=settings.open_views),
        *contacts.ROUTES,
        *core.ROUTES,
        *info.ROUTES,
        *park.ROUTES,
        *permissions.ROUTES,
        *pjsip.ROUTES,
        *queue.ROUTES,
        *users.ROUTES,
    ]
