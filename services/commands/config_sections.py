"""Sections of configuration files: create, update, change some options, delete."""

from collections.abc import Sequence

from schemas.acts.config import ConfigSection
from schemas.configuration import Line, Section
from services.asterisk.config.checks import FILE_SETTINGS, check_text
from services.asterisk.config.render import render
from services.asterisk.config.text import ConfigTextError, parse
from services.commands.config_files import change_file, tokenize_secrets
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.commands.pbx import resolve_pbx
from services.runtime.errors import Conflict, Invalid, NotFound


async def create_section(
    context: CommandContext, request: RequestContext, file: str, section: Section, *, pbx: str | None, location: str
) -> Outcome:
    """Create a section, at the named PBX or the only one; ``location`` is its path in the caller's dialect."""
    if section.name.lower() in FILE_SETTINGS:
        raise Conflict(f"there is a section [{section.name}]")
    (tokenized,) = await tokenize_secrets(context, [require_writable(file, section)])
    act = ConfigSection(file, tokenized.name, "create", tokenized.lines, tokenized.inherits)
    return await change_file(context, request, await resolve_pbx(context.pool, pbx), act, location)


async def update_section(
    context: CommandContext,
    request: RequestContext,
    file: str,
    name: str,
    lines: Sequence[Line],
    *,
    pbx: str | None,
    templates: tuple[str, ...] | None,
) -> Outcome:
    """Replace the lines of a section; ``templates`` None leaves those from which it inherits."""
    reject_special(name)
    (tokenized,) = await tokenize_secrets(context, [require_writable(file, Section(name, tuple(lines)))])
    act = ConfigSection(file, name, "update", tokenized.lines, templates)
    return await change_file(context, request, await resolve_pbx(context.pool, pbx), act)


async def change_options(
    context: CommandContext, request: RequestContext, file: str, name: str, lines: Sequence[Line], *, pbx: str | None
) -> Outcome:
    """Set the options of a section that ``lines`` name; other options stay."""
    reject_special(name)
    (tokenized,) = await tokenize_secrets(context, [require_writable(file, Section(name, tuple(lines)))])
    act = ConfigSection(file, name, "change", tokenized.lines)
    return await change_file(context, request, await resolve_pbx(context.pool, pbx), act)


async def delete_section(
    context: CommandContext, request: RequestContext, file: str, name: str, pbx: str | None
) -> Outcome:
    """Delete a section."""
    reject_special(name)
    act = ConfigSection(file, name, "delete")
    return await change_file(context, request, await resolve_pbx(context.pool, pbx), act)


def reject_special(name: str) -> None:
    """Raise NotFound for the sections that no dialect serves."""
    if name.lower() in FILE_SETTINGS:
        raise NotFound(f"not found: section {name}")


def require_writable(file: str, section: Section) -> Section:
    """Return the section if the file can hold it. Raises Invalid."""
    alone = Section(section.name, section.lines)
    try:
        parsed = parse(render([alone]))
        if parsed.sections != [alone]:
            raise Invalid("data: names and values have no line breaks, and no blanks around them")
        check_text(file, parsed)
    except ConfigTextError as error:
        raise Invalid(f"data: {error.reason} (item {error.line - 1})") from None
    return section
