"""Acts on modules (AMI ModuleLoad, Asterisk 16 and 22).

Asterisk has one text for a module that already runs and for one that cannot be loaded: "Could not load module."
ModuleCheck distinguishes them. Only Asterisk 22 reports a module without a file.
"""

from typing import Any

from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from services.asterisk.ami.actions import RefusedError, send_action
from services.commander.actions.context import ActionContext


async def load(context: ActionContext, act: ModuleLoad) -> dict[str, Any]:
    """Load a module; a running one is `conflict`, one without a file `absent` (Asterisk 16: refused)."""
    session = context.session
    try:
        await send_action(session, "ModuleLoad", Module=f"{act.module}.so", LoadType="load")
    except RefusedError as error:
        if error.reason == "refused" and (await session.request("ModuleCheck", Module=act.module))[0].success:
            raise RefusedError(str(error), "conflict") from None
        raise
    return {}


async def reload(context: ActionContext, act: ModuleReload) -> dict[str, Any]:
    """Reload a module; one that is not loaded is `absent`."""
    await send_action(context.session, "ModuleLoad", Module=f"{act.module}.so", LoadType="reload")
    return {}


async def unload(context: ActionContext, act: ModuleUnload) -> dict[str, Any]:
    """Unload a module; one that is in use is refused."""
    await send_action(context.session, "ModuleLoad", Module=f"{act.module}.so", LoadType="unload")
    return {}
