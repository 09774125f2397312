"""Trunks: the PJSIP sections that make one registration; create, update, delete."""

from collections.abc import Mapping

from schemas.acts.config import ConfigTrunk
from schemas.configuration import Line, Section
from services.asterisk.config.trunks import InvalidTrunkError, with_trunk
from services.commands.config_files import change_file, tokenize_secrets
from services.commands.config_sections import require_writable
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.commands.pbx import resolve_pbx
from services.runtime.errors import Invalid


async def create_trunk(
    context: CommandContext,
    request: RequestContext,
    name: str,
    members: Mapping[str, str],
    *,
    pbx: str | None,
    location: str,
) -> Outcome:
    """Create a trunk, at the named PBX or the only one; ``location`` is its path in the caller's dialect."""
    try:
        with_trunk([], name, members)
    except InvalidTrunkError as error:
        raise Invalid(str(error)) from None
    at = await resolve_pbx(context.pool, pbx)
    act = ConfigTrunk(name, "create", await _tokenize(context, name, members))
    return await change_file(context, request, at, act, location)


async def update_trunk(
    context: CommandContext, request: RequestContext, name: str, members: Mapping[str, str], pbx: str | None
) -> Outcome:
    """Change these members of a trunk."""
    at = await resolve_pbx(context.pool, pbx)
    act = ConfigTrunk(name, "update", await _tokenize(context, name, members))
    return await change_file(context, request, at, act)


async def delete_trunk(context: CommandContext, request: RequestContext, name: str, pbx: str | None) -> Outcome:
    """Delete a trunk, with all its sections that nothing else uses."""
    at = await resolve_pbx(context.pool, pbx)
    return await change_file(context, request, at, ConfigTrunk(name, "delete"))


async def _tokenize(context: CommandContext, name: str, members: Mapping[str, str]) -> dict[str, str]:
    lines = tuple(Line(member, value) for member, value in members.items())
    (section,) = await tokenize_secrets(context, [require_writable("", Section(name, lines))])
    return {line.name: line.value for line in section.lines}
