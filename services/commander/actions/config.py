"""Acts on configuration files (AMI GetConfig, UpdateConfig, CreateConfig, Reload; Asterisk 16 and 22).

A file is read, recorded in the log, written and read again. Then Asterisk reloads it, and the commander checks which
objects exist. If a step fails, the former content of the file is restored.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from schemas.acts.config import ConfigReplace, ConfigSection
from schemas.configuration import PJSIP, Section
from services.asterisk.ami.actions import RefusedError
from services.asterisk.config import files, rehearsal, reload, secrets, trial
from services.asterisk.config.render import digest
from services.asterisk.config.secrets import tokens_of
from services.asterisk.config.sections import name_key, with_option
from services.asterisk.config.updates import Plan, UnwritableError, plan_updates
from services.commander.actions.context import ActionContext
from services.database.secret_store import consume

Decide = Callable[[list[Section]], list[Section]]
"""Maps the present sections, with masked secrets, to the desired ones. Raises RefusedError."""

logger = structlog.get_logger()


async def replace_file(context: ActionContext, act: ConfigReplace) -> dict[str, Any]:
    """Replace a whole file."""
    values = await consume(context.fetch, tokens_of(line for one in act.sections for line in one.lines))
    return await write_file(context, act.file, values, lambda _: list(act.sections), act.base)


async def change_section(context: ActionContext, act: ConfigSection) -> dict[str, Any]:
    """Create, change or delete one section."""

    def decide(present: list[Section]) -> list[Section]:
        indexes = [index for index, one in enumerate(present) if name_key(one.name) == name_key(act.name)]
        if act.doing == "create":
            if indexes:
                raise RefusedError(f"there is a section [{act.name}]", "conflict")
            return [*present, Section(act.name, act.lines, inherits=act.inherits or ())]
        if not indexes:
            raise RefusedError(f"there is no section [{act.name}]", "absent")
        if act.doing == "delete":
            return [one for index, one in enumerate(present) if index not in indexes]
        first, *others = indexes
        inherits = present[first].inherits if act.inherits is None else act.inherits
        lines = act.lines
        if act.doing == "change":
            changed = present[first]
            for line in act.lines:
                changed = with_option(changed, line.name, line.value)
            lines = changed.lines
        desired = list(present)
        desired[first] = replace(present[first], lines=lines, inherits=inherits)
        return [one for index, one in enumerate(desired) if index not in others]

    return await write_file(context, act.file, await consume(context.fetch, tokens_of(act.lines)), decide)


async def write_file(
    context: ActionContext, file: str, values: Mapping[str, str], decide: Decide, base: str = ""
) -> dict[str, Any]:
    """Write the sections that ``decide`` returns; ``values`` are the secrets by token.

    Raises RefusedError, with the reason `conflict` if the file's digest is not ``base``.
    """
    present = await files.read(context.session, file)
    if present is None:
        await files.create(context.session, file)
        present = []
    before = await context.config_log.record(file, present)
    if base and digest(before) != base:
        raise RefusedError(f"{file} has changed since you read it", "conflict")
    masked = decide(secrets.mask_sections(present))
    try:
        desired = secrets.restore(masked, present, values)
        plan = plan_updates(present, desired)
    except secrets.MissingSecretError as error:
        raise RefusedError(str(error), "invalid") from None
    except UnwritableError as error:
        raise RefusedError(str(error), "conflict") from None
    if plan.updates:
        desired = await _apply(context, file, present, desired, plan)
    await context.config_log.record(file, desired)
    return {}


async def _apply(
    context: ActionContext, file: str, present: Sequence[Section], desired: Sequence[Section], plan: Plan
) -> list[Section]:
    """Write, reload and check the file, and return its sections. Raises RefusedError, after restoring the file."""
    failure, now = "", list(desired)
    try:
        await rehearsal.rehearse(context.session, file, present)
        failure = await trial.rejected_object(context.session, present, desired) if file == PJSIP else ""
        if not failure:
            now = await files.write(context.session, file, present, desired, plan)
            await reload.reload(context.session, file)
            changed = [one for one in now if one not in present]
            failure = await reload.missing_objects(context.session, file, changed, now)
    except UnwritableError as error:
        raise RefusedError(str(error), "conflict") from None
    except (RefusedError, files.DamagedError) as error:
        failure = str(error)
    if failure:
        raise RefusedError(f"{failure}; {await _restore(context, file, present)}")
    return now


async def _restore(context: ActionContext, file: str, former: Sequence[Section]) -> str:
    """Write the former sections back; return the result as a part of an error message."""
    try:
        now = await files.read(context.session, file) or []
        await files.write(context.session, file, now, former, plan_updates(now, former))
        await reload.reload(context.session, file)
    except (RefusedError, files.DamagedError, UnwritableError) as error:
        logger.exception("configuration_not_put_back", file=file)
        return f"and the former content could not be restored: {error}"
    return "the former content has been restored"
