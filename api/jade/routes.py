"""Every route of jade."""

from aiohttp import web

from api.jade import (
    async_dialplans,
    configurations,
    contacts,
    core,
    info,
    login,
    me_buddies,
    me_calls,
    me_chats,
    me_messages,
    modules,
    park,
    permissions,
    pjsip,
    queue,
    queue_members,
    root,
    sections,
    trunks,
    users,
)
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
