"""The response to AMI GetConfig as sections (main/manager.c, Asterisk 16 and 22)."""

import re
from collections.abc import Sequence

from msgspec.structs import replace
from panoramisk.message import Message

from schemas.configuration import Line, Section
from services.asterisk.config.sections import Inheritance

CATEGORY = re.compile(r"(?:(Category|IsTemplate|Templates)-([0-9]+)|Line-([0-9]+)-[0-9]+)")


def sections_of(answer: Message) -> list[Section]:
    """Return the sections in a response to GetConfig. Raises InheritanceError."""
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
    sections: list[Section] = []
    inheritance = Inheritance()
    for number, name in names.items():
        section = Section(name, (), number in templates, inherits.get(number, ()))
        sections.append(replace(section, lines=_own_lines(lines.get(number, []), inheritance.lines_above(section))))
        inheritance.add(sections[-1])
    return sections


def _own_lines(lines: Sequence[Line], inherited: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines that a section does not inherit; inherited ones come first, unless ``+=`` changed one."""
    if tuple(lines[: len(inherited)]) == tuple(inherited):
        return tuple(lines[len(inherited) :])
    return tuple(line for line in lines if line not in inherited)
