"""A configuration file over AMI: GetConfig reads it, UpdateConfig writes it (main/manager.c, Asterisk 16 and 22)."""

import re
from collections.abc import Iterable, Sequence

from msgspec.structs import replace
from panoramisk.message import Message

from schemas.configuration import Line, Section
from services.asterisk.ami.actions import MOST_LINES, RefusedError, done
from services.asterisk.ami.session import Session
from services.asterisk.config.text import ODD, Heritage, InheritanceError, alike
from services.asterisk.config.updates import TEMPLATES, Plan, UnwritableError, Update

HEADERS_A_MESSAGE = MOST_LINES - 3
"""Of updates: three more name the files."""
PROBE = "ringledger-probe"

CATEGORY = re.compile(r"(?:(Category|IsTemplate|Templates)-([0-9]+)|Line-([0-9]+)-[0-9]+)")


class DamagedError(Exception):
    """What stands in the file now is not what was to be written."""


async def read(session: Session, file: str) -> list[Section] | None:
    """Return the sections of a file and of all that it includes, None if there is no such file.

    Raises RefusedError (no permission, Asterisk cannot parse the file, or it grows without bound), LinkLostError or
    TimeoutError.
    """
    try:
        answer = await done(session, "GetConfig", Filename=file, Filter="TEMPLATES=include")
    except RefusedError as error:
        if str(error) == "Config file not found":
            return None
        raise
    try:
        return sections_of(answer)
    except InheritanceError as error:
        raise RefusedError(f"{file}: {error}") from None


def sections_of(answer: Message) -> list[Section]:
    """Return the sections that a response to GetConfig tells."""
    names: dict[str, str] = {}
    templates: set[str] = set()
    inherits: dict[str, tuple[str, ...]] = {}
    lines: dict[str, list[Line]] = {}
    for header, value in answer.items():
        match = CATEGORY.fullmatch(header)
        if match is None:
            continue
        kind, number = match[1], match[2] or match[3]
        if kind == "Category":
            names[number] = value
        elif kind == "IsTemplate":
            templates.add(number)
        elif kind == "Templates":
            inherits[number] = tuple(name.strip() for name in value.split(","))
        else:
            name, _, rest = value.partition("=")
            lines.setdefault(number, []).append(Line(name, rest))
    found: list[Section] = []
    heritage = Heritage()
    for number, name in names.items():
        section = Section(name, (), number in templates, inherits.get(number, ()))
        found.append(replace(section, lines=_own(lines.get(number, []), heritage.above(section))))
        heritage.add(found[-1])
    return found


def _own(lines: Sequence[Line], above: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines that a section does not have from its templates; these come first, unless ``+=`` changed one."""
    if tuple(lines[: len(above)]) == tuple(above):
        return tuple(lines[len(above) :])
    return tuple(line for line in lines if line not in above)


async def write(
    session: Session, file: str, present: Sequence[Section], wanted: Sequence[Section], plan: Plan
) -> list[Section]:
    """Do what the plan says, see that it is so, and return what stands in the file now, in its order.

    Raises UnwritableError with the file as it was; RefusedError or DamagedError with the file as it may be.
    """
    heritage = Heritage()
    for section in present:
        above = frozenset(heritage.above(section))
        heritage.add(section)
        for line in section.lines:
            if line in above or line.name.startswith(ODD) or ";" in line.name:
                raise UnwritableError(f"[{section.name}] {line.name}: UpdateConfig cannot write this line back")
    probed = [Update("DelCat", PROBE)] if plan.rewritten else []
    if plan.rewritten:
        await _probe(session, file, present[0].name, plan)
    await _update(session, file, [*probed, *plan.updates])
    now = await read(session, file)
    if now is None or not same(now, wanted):
        raise DamagedError(f"{file} does not say what was written into it")
    return now


def same(some: Sequence[Section], others: Sequence[Section]) -> bool:
    """Tell whether they say the same; only the order of sections of one name matters."""
    return _sorted(some) == _sorted(others)


def _sorted(sections: Iterable[Section]) -> list[Section]:
    return sorted(sections, key=lambda section: alike(section.name))


async def _probe(session: Session, file: str, first: str, plan: Plan) -> None:
    """See that the sections which are written anew stand in the file itself.

    A line that is added to a section of an included file goes into the main file, below the section before. So a
    section is put before all others, that there is one, and a line into each that matters.
    """
    options = {update.cat: update.options for update in plan.updates if update.action in {"EmptyCat", "DelCat"}}
    lines = [Update("Append", name, PROBE, "1", options=options[name]) for name in plan.rewritten]
    await _update(session, file, [Update("NewCat", PROBE, match=first), *lines])
    now = await read(session, file) or []
    with_line = [section for section in now if any(line.name == PROBE for line in section.lines)]
    elsewhere = [
        name for name in plan.rewritten if any(alike(one.name) == alike(name) and one not in with_line for one in now)
    ]
    if elsewhere:
        found = {one.name: TEMPLATES if one.template else "" for one in with_line if one.name != PROBE}
        clean = [Update("Delete", name, PROBE, options=templates) for name, templates in found.items()]
        await _update(session, file, [*clean, Update("DelCat", PROBE)])
        raise UnwritableError(
            f"[{elsewhere[0]}] stands in an included file: values can be changed there, lines neither added nor moved"
        )


async def _update(session: Session, file: str, updates: Sequence[Update]) -> None:
    for headers in messages(updates):
        await done(
            session, "UpdateConfig", SrcFilename=file, DstFilename=file, PreserveEffectiveContext="no", **headers
        )


def messages(updates: Sequence[Update]) -> list[dict[str, str]]:
    """Return the headers of the actions that carry these updates, as many in each as Asterisk takes."""
    made: list[dict[str, str]] = [{}]
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
        if len(made[-1]) + len(headers) > HEADERS_A_MESSAGE:
            made.append({})
            number = 0
        made[-1] |= {f"{name}-{number:06d}": value for name, value in headers.items()}
        number += 1
    return [headers for headers in made if headers]


async def create(session: Session, file: str) -> None:
    """Make an empty file (AMI CreateConfig)."""
    await done(session, "CreateConfig", Filename=file)
