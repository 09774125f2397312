"""/admin/core/modules: what is loaded; loading, reloading, unloading (seed 001:826-1009)."""

import re

from aiohttp import web

from api.http.errors import ApiError
from api.jade.resource import Resource
from api.jade.writes import answer, named, only, seen
from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from services.commands.act import act, one_pbx, sendable

# Nothing that could lead out of Asterisk's directory of modules.
NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")

MODULES_SQL = """
SELECT pbx, name, load, size, tm_update
FROM modules
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = regexp_replace($2, '[.]so$', ''))
ORDER BY pbx, name
"""


async def load(request: web.Request) -> web.Response:
    """POST: load a module, at the PBX of ``?pbx=`` or the only one."""
    name = request.match_info["detail"].removesuffix(".so")
    sendable(name)
    if not NAME.fullmatch(name):
        raise ApiError(404, "no such thing")
    pbx = await one_pbx(request)
    decided = await act(request, pbx, ModuleLoad(name))
    await seen(request, "modules", MODULES_SQL, (pbx, name), bool)
    return answer(decided)


async def reload(request: web.Request) -> web.Response:
    """PUT: have a module read its configuration again."""
    row = await only(request, MODULES_SQL, named(request))
    return answer(await act(request, row["pbx"], ModuleReload(row["name"])))


async def unload(request: web.Request) -> web.Response:
    """DELETE: unload a module."""
    row = await only(request, MODULES_SQL, named(request))
    decided = await act(request, row["pbx"], ModuleUnload(row["name"]))
    await seen(request, "modules", MODULES_SQL, (row["pbx"], row["name"]), lambda rows: not rows)
    return answer(decided)


MODULES = Resource("modules", MODULES_SQL, ("modules",))
