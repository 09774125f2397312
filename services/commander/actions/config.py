"""Acts on configuration files (AMI GetConfig, UpdateConfig, CreateConfig, Reload; Asterisk 16 and 22).

A file is read, told to the log, written and read again; then Asterisk is asked to take it and asked what it took. When
anything of that fails, what stood in the file is put back.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from schemas.acts.config import ConfigReplace, ConfigSection
from schemas.configuration import PJSIP, Section
from services.asterisk.ami.actions import RefusedError
from services.asterisk.config import files, reload, secrets, trial
from services.asterisk.config.secrets import tokens_of
from services.asterisk.config.text import alike, digest, with_option
from services.asterisk.config.updates import Plan, UnwritableError, plan
from services.commander.actions.context import Desk
from services.database.secret_store import consume

Decide = Callable[[list[Section]], list[Section]]
"""From what stands in a file, secrets masked, to what shall stand there. Raises RefusedError."""

logger = structlog.get_logger()


async def replaced(desk: Desk, act: ConfigReplace) -> dict[str, Any]:
    """Write a whole file."""
    given = await consume(desk.ask, tokens_of(line for one in act.sections for line in one.lines))
    return await written(desk, act.file, given, lambda _: list(act.sections), act.base)


async def section(desk: Desk, act: ConfigSection) -> dict[str, Any]:
    """Make, change or remove one section."""

    def decide(present: list[Section]) -> list[Section]:
        places = [place for place, one in enumerate(present) if alike(one.name) == alike(act.name)]
        if act.doing == "create":
            if places:
                raise RefusedError(f"there is a section [{act.name}]", "conflict")
            return [*present, Section(act.name, act.lines, inherits=act.inherits or ())]
        if not places:
            raise RefusedError(f"there is no section [{act.name}]", "absent")
        if act.doing == "delete":
            return [one for place, one in enumerate(present) if place not in places]
        first, *more = places
        inherits = present[first].inherits if act.inherits is None else act.inherits
        lines = act.lines
        if act.doing == "change":
            changed = present[first]
            for line in act.lines:
                changed = with_option(changed, line.name, line.value)
            lines = changed.lines
        made = list(present)
        made[first] = replace(present[first], lines=lines, inherits=inherits)
        return [one for place, one in enumerate(made) if place not in more]

    return await written(desk, act.file, await consume(desk.ask, tokens_of(act.lines)), decide)


async def written(desk: Desk, file: str, given: Mapping[str, str], decide: Decide, base: str = "") -> dict[str, Any]:
    """Do what is decided; ``given`` are the secret values by token."""
    present = await files.read(desk.session, file)
    if present is None:
        await files.create(desk.session, file)
        present = []
    before = await desk.told.say(file, present)
    if base and digest(before) != base:
        raise RefusedError(f"{file} is not as it was when you read it", "conflict")
    asked = decide(secrets.mask_sections(present))
    try:
        wanted = secrets.restore(asked, present, given)
        made = plan(present, wanted)
    except secrets.NoSecretError as error:
        raise RefusedError(str(error), "invalid") from None
    except UnwritableError as error:
        raise RefusedError(str(error), "conflict") from None
    if made.updates:
        wanted = await _taken(desk, file, present, wanted, made)
    await desk.told.say(file, wanted)
    return {}


async def _taken(
    desk: Desk, file: str, present: Sequence[Section], wanted: Sequence[Section], made: Plan
) -> list[Section]:
    """Write, have Asterisk take it, and return what stands in the file then. Raises RefusedError."""
    words, now = "", list(wanted)
    try:
        words = await trial.refused(desk.session, present, wanted) if file == PJSIP else ""
        if not words:
            now = await files.write(desk.session, file, present, wanted, made)
            await reload.reload(desk.session, file)
            words = await reload.refused(desk.session, file, [one for one in now if one not in present], now)
    except UnwritableError as error:
        raise RefusedError(str(error), "conflict") from None
    except (RefusedError, files.DamagedError) as error:
        words = str(error)
    if words:
        raise RefusedError(f"{words}; {await _put_back(desk, file, present)}")
    return now


async def _put_back(desk: Desk, file: str, former: Sequence[Section]) -> str:
    """Make the file what it was; return how that went, in words."""
    try:
        now = await files.read(desk.session, file) or []
        await files.write(desk.session, file, now, former, plan(now, former))
        await reload.reload(desk.session, file)
    except (RefusedError, files.DamagedError, UnwritableError) as error:
        logger.exception("configuration_not_put_back", file=file)
        return f"and what stood there could not be put back: {error}"
    return "what stood there has been put back"
