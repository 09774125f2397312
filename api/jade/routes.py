"""Every route of jade."""

from aiohttp import web

from api.jade import contacts, core, info, login, modules, park, permissions, pjsip, queue, queue_members, users
from api.jade import dialplans as async_dialplans
from api.jade import legacy as root
from api.jade.config import files as configurations
from api.jade.config import sections, trunks
from api.jade.me import buddies as me_buddies
from api.jade.me import calls as me_calls
from api.jade.me import chats as me_chats
from api.jade.me import messages as me_messages
from schemas.settings import Settings


def routes(settings: Settings) -> list[web.RouteDef]:
    return [
        *login.ROUTES,
        *root.routes(opened=settings.open_views),
        *async_dialplans.ROUTES,
        *configurations.ROUTES,
        *contacts.ROUTES,
        *core.ROUTES,
        *info.ROUTES,
        *me_buddies.ROUTES,
        *me_calls.ROUTES,
        *me_chats.ROUTES,
        *me_messages.ROUTES,
        *modules.ROUTES,
        *park.ROUTES,
        *permissions.ROUTES,
        *pjsip.ROUTES,
        *queue.ROUTES,
        *queue_members.ROUTES,
        *sections.ROUTES,
        *trunks.ROUTES,
        *users.ROUTES,
    ]
