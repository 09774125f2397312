"""A configuration file over AMI: GetConfig reads it, UpdateConfig writes it (main/manager.c, Asterisk 16 and 22)."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from schemas.configuration import Section
from services.asterisk.ami.actions import MAX_LINES, RefusedError, send_action
from services.asterisk.ami.session import Session
from services.asterisk.config.render import ESCAPED_STARTS
from services.asterisk.config.response import sections_of
from services.asterisk.config.sections import Inheritance, InheritanceError, name_key
from services.asterisk.config.updates import TEMPLATES, Plan, UnwritableError, Update

HEADERS_PER_MESSAGE = MAX_LINES - 3
"""Headers for updates: three more name the files."""
PROBE = "ringledger-probe"


class DamagedError(Exception):
    """The file's content differs from what was written."""


async def read(session: Session, file: str) -> list[Section] | None:
    """Return the sections of a file and of all that it includes, None if the file does not exist.

    Raises RefusedError (no permission, Asterisk cannot parse the file, or templates multiply without bound),
    LinkLostError or TimeoutError.
    """
    try:
        answer = await send_action(session, "GetConfig", Filename=file, Filter="TEMPLATES=include")
    except RefusedError as error:
        if str(error) == "Config file not found":
            return None
        raise
    try:
        return sections_of(answer)
    except InheritanceError as error:
        raise RefusedError(f"{file}: {error}") from None


async def write(
    session: Session, file: str, present: Sequence[Section], desired: Sequence[Section], plan: Plan
) -> list[Section]:
    """Execute the plan, verify the result, and return the sections of the file in its order.

    Raises UnwritableError with the file unchanged; RefusedError or DamagedError with the file possibly changed.
    """
    require_writable(present)
    probed = [Update("DelCat", PROBE)] if plan.rewritten else []
    if plan.rewritten:
        await _probe(session, file, present[0].name, plan)
    await _update(session, file, [*probed, *plan.updates])
    now = await read(session, file)
    if now is None or not is_same(now, desired):
        raise DamagedError(f"{file} does not contain what was written into it")
    return now


def require_writable(sections: Sequence[Section]) -> None:
    """Raise UnwritableError if Asterisk cannot write back a line that the file has now."""
    inheritance = Inheritance()
    for section in sections:
        inherited = frozenset(inheritance.lines_above(section))
        inheritance.add(section)
        for line in section.lines:
            if line in inherited or line.name.startswith(ESCAPED_STARTS) or ";" in line.name:
                raise UnwritableError(f"[{section.name}] {line.name}: UpdateConfig cannot write this line back")


def is_same(some: Sequence[Section], others: Sequence[Section]) -> bool:
    """Return whether the sections are the same; order matters only among sections of one name."""
    return _sorted(some) == _sorted(others)


def _sorted(sections: Iterable[Section]) -> list[Section]:
    return sorted(sections, key=lambda section: name_key(section.name))


async def _probe(session: Session, file: str, first: str, plan: Plan) -> None:
    """Verify that the sections to rewrite are in the file itself, not in an included file.

    Asterisk adds a line for a section of an included file to the main file, below the preceding section. So the probe
    puts a section before all others, so that there is one, and a line into each section to rewrite.
    """
    options = {update.cat: update.options for update in plan.updates if update.action in {"EmptyCat", "DelCat"}}
    lines = [Update("Append", name, PROBE, "1", options=options[name]) for name in plan.rewritten]
    await _update(session, file, [Update("NewCat", PROBE, match=first), *lines])
    now = await read(session, file) or []
    with_line = [section for section in now if any(line.name == PROBE for line in section.lines)]
    elsewhere = [
        name
        for name in plan.rewritten
        if any(name_key(one.name) == name_key(name) and one not in with_line for one in now)
    ]
    if elsewhere:
        probed = {one.name: TEMPLATES if one.template else "" for one in with_line if one.name != PROBE}
        clean = [Update("Delete", name, PROBE, options=templates) for name, templates in probed.items()]
        await _update(session, file, [*clean, Update("DelCat", PROBE)])
        raise UnwritableError(
            f"[{elsewhere[0]}] is in an included file: values can be changed there, lines neither added nor moved"
        )


async def _update(session: Session, file: str, updates: Sequence[Update]) -> None:
    for headers in messages(updates):
        await save(session, file, file, headers)


async def save(session: Session, source: str, target: str, updates: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the sections of one file into another one, or the same, with the headers of updates. Raises RefusedError.

    Asterisk writes the files that ``source`` includes too.
    """
    await send_action(
        session, "UpdateConfig", SrcFilename=source, DstFilename=target, PreserveEffectiveContext="no", **updates
    )


def messages(updates: Sequence[Update]) -> list[dict[str, str]]:
    """Return the headers of the actions that carry these updates, each with as many as Asterisk accepts."""
    batches: list[dict[str, str]] = [{}]
    number = 0
    for update in updates:
        members = {
            "Action": update.action,
            "Cat": update.cat,
            "Var": update.var,
            "Value": update.value,
            "Match": update.match,
            "Options": update.options,
        }
        headers = {name: value for name, value in members.items() if value or (name == "Value" and update.var)}
        if len(batches[-1]) + len(headers) > HEADERS_PER_MESSAGE:
            batches.append({})
            number = 0
        batches[-1] |= {f"{name}-{number:06d}": value for name, value in headers.items()}
        number += 1
    return [headers for headers in batches if headers]


async def create(session: Session, file: str) -> None:
    """Create an empty file (AMI CreateConfig)."""
    await send_action(session, "CreateConfig", Filename=file)
