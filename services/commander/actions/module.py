"""Acts on modules (AMI ModuleLoad, Asterisk 16 and 22).

Asterisk has the same words for a module that runs already and for one that cannot be loaded: "Could not load module."
ModuleCheck tells them apart. Of one that it has no file for only 22 says so.
"""

from typing import Any

from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from services.asterisk.ami.actions import RefusedError, done
from services.asterisk.ami.session import Session


async def load(session: Session, act: ModuleLoad) -> dict[str, Any]:
    """Load a module; one that runs already is `conflict`, one without a file `absent` (16: refused)."""
    try:
        await done(session, "ModuleLoad", Module=f"{act.module}.so", LoadType="load")
    except RefusedError as error:
        if error.reason == "refused" and (await session.ask("ModuleCheck", Module=act.module))[0].success:
            raise RefusedError(str(error), "conflict") from None
        raise
    return {}


async def reload(session: Session, act: ModuleReload) -> dict[str, Any]:
    """Reload a module; one that is not loaded is `absent`."""
    await done(session, "ModuleLoad", Module=f"{act.module}.so", LoadType="reload")
    return {}


async def unload(session: Session, act: ModuleUnload) -> dict[str, Any]:
    """Unload a module; one that is in use is refused."""
    await done(session, "ModuleLoad", Module=f"{act.module}.so", LoadType="unload")
    return {}
