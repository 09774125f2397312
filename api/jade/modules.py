"""/admin/core/modules: list, load, reload, unload (seed 001:826-1009)."""

from aiohttp import web

from api.http.idempotency import command_args
from api.jade.resource import Resource
from api.jade.writes import detail_args, write_response
from api.stream.resources import StreamResource, segments_of, without
from services.commands.modules import load_module, reload_module, unload_module

MODULES_SQL = """
SELECT pbx, name, load, size, tm_update
FROM modules
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = regexp_replace($2, '[.]so$', ''))
ORDER BY pbx, name
"""


MODULES = Resource("modules", MODULES_SQL, ("modules",))
MODULE_STREAM = StreamResource("core.module", "/core/modules", "modules", segments_of("name"), without())


async def load(request: web.Request) -> web.Response:
    """POST: load a module, at the PBX of ``?pbx=`` or the only one."""
    pbx, name = detail_args(request)
    return write_response(await load_module(*await command_args(request), pbx, name))


async def reload(request: web.Request) -> web.Response:
    """PUT: make a module read its configuration again."""
    pbx, name = detail_args(request)
    return write_response(await reload_module(*await command_args(request), pbx, name))


async def unload(request: web.Request) -> web.Response:
    """DELETE: unload a module."""
    pbx, name = detail_args(request)
    return write_response(await unload_module(*await command_args(request), pbx, name))
