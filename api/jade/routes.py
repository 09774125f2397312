"""Every route of jade."""

from aiohttp import web

from api.jade import core, login, me_buddies, me_chats, me_messages, modules, park, pjsip, queue, queue_members, root
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [
        *login.ROUTES,
        *root.routes(opened=settings.open_views),
        *core.ROUTES,
        *modules.ROUTES,
        *park.ROUTES,
        *pjsip.ROUTES,
        *queue.ROUTES,
        *queue_members.ROUTES,
        *me_buddies.ROUTES,
        *me_chats.ROUTES,
        *me_messages.ROUTES,
    ]
