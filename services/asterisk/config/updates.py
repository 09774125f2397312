"""From what a file says and what it shall say to the actions of AMI's UpdateConfig, as few as can be.

Asterisk remembers for each section and line which file it came from (``#include``) and writes it back there, with its
comments. What is added goes into the main file. So what is the same is left alone, a value that changes is changed
in place, and only other changes write a section's lines anew: those must not be done to a section of an included file.
"""

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from msgspec import Struct

from schemas.configuration import Line, Section
from services.asterisk.config.text import alike, arrow, effective

TEMPLATES = 'catfilter="TEMPLATES=include"'
"""Option of an update that is for templates too; without the quotes Asterisk reads half of it."""


class Update(Struct, frozen=True, omit_defaults=True):
    """One action of UpdateConfig; empty members are not sent."""

    action: str
    cat: str
    var: str = ""
    value: str = ""
    match: str = ""
    options: str = ""


class Plan(Struct, frozen=True):
    """Updates, in order; ``rewritten`` names the sections whose lines are written anew (see `probes`)."""

    updates: tuple[Update, ...]
    rewritten: tuple[str, ...] = ()


class UnwritableError(Exception):
    """UpdateConfig cannot write this."""


def plan(present: Sequence[Section], wanted: Sequence[Section]) -> Plan:
    """Return what makes ``wanted`` of ``present``. Raises UnwritableError.

    The order of sections that are there already stays; new ones come at the end, in their order.
    """
    before, after = _groups(present), _groups(wanted)
    whole: dict[str, list[Line]] = {}
    for section, lines in zip(present, effective(present), strict=True):
        whole.setdefault(alike(section.name), []).extend(lines)
    gone = [name for name in before if name not in after]
    changed: list[Update] = []
    added: list[Update] = []
    rewritten: list[str] = []
    for name, group in after.items():
        old = before.get(name, [])
        if old == group:
            continue
        if not old:
            for number, section in enumerate(group):
                added += _new(section, temporary=number > 0)
            continue
        edits = _in_place(old, group, whole[name])
        if edits is not None:
            changed += edits
            continue
        rewritten.append(old[0].name)
        if len(old) == len(group) == 1 and _header(old[0]) == _header(group[0]):
            changed.append(Update("EmptyCat", old[0].name, options=_filter(old)))
            changed += _lines(old[0].name, group[0])
        else:
            gone.append(name)
            for number, section in enumerate(group):
                added += _new(section, temporary=number > 0)
    return Plan((*_removed(gone, before), *changed, *added), tuple(rewritten))


def _removed(gone: Sequence[str], before: dict[str, list[Section]]) -> list[Update]:
    """Remove sections, those that inherit first: Asterisk goes on reading a template that is gone, and may crash."""
    heirs = {
        name: {other for other, group in before.items() if any(name in map(alike, one.inherits) for one in group)}
        for name in gone
    }
    removed: list[Update] = []
    left = list(gone)
    while left:
        free = [name for name in left if not heirs[name]]
        if not free:
            raise UnwritableError(f"[{before[left[0]][0].name}] is inherited by a section that stays")
        for name in free:
            removed.append(Update("DelCat", before[name][0].name, options=_filter(before[name])))
            for others in heirs.values():
                others.discard(name)
        left = [name for name in left if name not in free]
    return removed


def _groups(sections: Sequence[Section]) -> dict[str, list[Section]]:
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(alike(section.name), []).append(section)
    return groups


def _header(section: Section) -> tuple[bool, tuple[str, ...]]:
    return section.template, section.inherits


def _filter(group: Sequence[Section]) -> str:
    # Without it Asterisk does not find a template.
    return TEMPLATES if any(section.template for section in group) else ""


def _new(section: Section, *, temporary: bool) -> list[Update]:
    """Make a section; beside others of its name it gets its lines under another one, or they would get them too."""
    options = ["allowdups"] if temporary else []
    if section.template:
        options.append("template")
    if section.inherits:
        options.append(f'inherit="{",".join(section.inherits)}"')
    name = f"{section.name}~new" if temporary else section.name
    made = [Update("NewCat", name, options=",".join(options)), *_lines(name, section)]
    if temporary:
        made.append(Update("RenameCat", name, value=section.name, options=_filter([section])))
    return made


def _lines(name: str, section: Section) -> list[Update]:
    found = _filter([section])
    return [Update("Append", name, line.name, _value(line), options=found) for line in section.lines]


def _value(line: Line) -> str:
    return f"> {line.value}" if arrow(line) == "=>" else line.value


def _in_place(old: Sequence[Section], new: Sequence[Section], whole: Sequence[Line]) -> list[Update] | None:
    """Return updates of single values and deletions of single lines, None if it takes more than that.

    UpdateConfig finds a line by name and value in all sections of a name, so it must be the only one of ``whole``: all
    lines of these sections, also those that they inherit.
    """
    if [(_header(one)) for one in old] != [(_header(one)) for one in new]:
        return None
    there = Counter(_found(line) for line in whole)
    edits: list[Update] = []
    made: set[tuple[str, str]] = set()
    found = _filter(old)
    for before, after in zip(old, new, strict=True):
        pairs = _pairs(before.lines, after.lines)
        if pairs is None:
            return None
        for line, other in pairs:
            if there[_found(line)] != 1 or _found(line) in made or not line.value:
                return None
            if other is None:
                edits.append(Update("Delete", before.name, line.name, match=line.value, options=found))
            else:
                made.add(_found(other))
                edits.append(Update("Update", before.name, line.name, _value(other), line.value, found))
    return edits


def _pairs(before: Sequence[Line], after: Sequence[Line]) -> list[tuple[Line, Line | None]] | None:
    """Return the lines that are other ones now, each with what it became (None: nothing), or None if any is new."""
    pairs: list[tuple[Line, Line | None]] = []
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        names, others = [line.name for line in before[i:j]], [line.name for line in after[k:m]]
        for of_names, first, last, to, end in SequenceMatcher(None, names, others, autojunk=False).get_opcodes():
            if of_names == "equal":
                pairs += zip(before[i + first : i + last], after[k + to : k + end], strict=True)
            elif of_names == "delete":
                pairs += [(line, None) for line in before[i + first : i + last]]
            else:
                return None
    return pairs


def _found(line: Line) -> tuple[str, str]:
    return line.name.lower(), line.value.lower()
