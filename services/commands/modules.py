"""Modules of a PBX: load, reload, unload."""

import re

from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from services.commands.act import request_act
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.commands.pbx import reject_line_breaks, resolve_pbx
from services.commands.targets import fetch_one, wait_visible
from services.runtime.errors import NotFound

# No name can lead out of Asterisk's directory of modules.
NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
MODULE = """
SELECT pbx, name FROM modules
WHERE ($1::text IS NULL OR pbx = $1) AND name = regexp_replace($2, '[.]so$', '')
ORDER BY pbx
"""


async def load_module(context: CommandContext, request: RequestContext, pbx: str | None, name: str) -> Outcome:
    """Load a module, at the named PBX or the only one."""
    name = name.removesuffix(".so")
    reject_line_breaks(name)
    if not NAME.fullmatch(name):
        raise NotFound(f"not found: module {name}")
    at = await resolve_pbx(context.pool, pbx)
    outcome = await request_act(context, request, at, ModuleLoad(name))
    await wait_visible(context, "modules", MODULE, at, name, until=bool)
    return outcome


async def reload_module(context: CommandContext, request: RequestContext, pbx: str | None, name: str) -> Outcome:
    """Make a loaded module read its configuration again."""
    row = await fetch_one(context.pool, MODULE, pbx, name, kind=f"module {name}")
    return await request_act(context, request, row["pbx"], ModuleReload(row["name"]))


async def unload_module(context: CommandContext, request: RequestContext, pbx: str | None, name: str) -> Outcome:
    """Unload a loaded module."""
    row = await fetch_one(context.pool, MODULE, pbx, name, kind=f"module {name}")
    outcome = await request_act(context, request, row["pbx"], ModuleUnload(row["name"]))
    await wait_visible(context, "modules", MODULE, row["pbx"], row["name"], until=lambda rows: not rows)
    return outcome
