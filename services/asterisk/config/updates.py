"""The difference between a file's present and desired sections as actions of AMI UpdateConfig, as few as possible.

Asterisk remembers which file each section and line came from (``#include``), and writes it back there with its
comments. It adds new lines to the main file. So equal sections stay untouched, and a changed value is changed in
place. Every other change rewrites a section's lines, which must not happen to a section of an included file.
"""

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from msgspec import Struct

from schemas.configuration import Line, Section
from services.asterisk.config.render import arrow
from services.asterisk.config.sections import effective_lines, name_key

TEMPLATES = 'catfilter="TEMPLATES=include"'
"""Option of an update that applies to templates too; without the quotes Asterisk reads half of it."""


class Update(Struct, frozen=True, omit_defaults=True):
    """One action of UpdateConfig; empty members are not sent."""

    action: str
    cat: str
    var: str = ""
    value: str = ""
    match: str = ""
    options: str = ""


class Plan(Struct, frozen=True):
    """Updates in order; ``rewritten`` names the sections whose lines are rewritten (see `files.write`)."""

    updates: tuple[Update, ...]
    rewritten: tuple[str, ...] = ()


class UnwritableError(Exception):
    """UpdateConfig cannot write this."""


def plan_updates(present: Sequence[Section], desired: Sequence[Section]) -> Plan:
    """Return the plan that turns ``present`` into ``desired``. Raises UnwritableError.

    Present sections stay in their order; new ones come at the end, in theirs.
    """
    before, after = _by_name(present), _by_name(desired)
    effective: dict[str, list[Line]] = {}
    for section, lines in zip(present, effective_lines(present), strict=True):
        effective.setdefault(name_key(section.name), []).extend(lines)
    deleted = [name for name in before if name not in after]
    changed: list[Update] = []
    added: list[Update] = []
    rewritten: list[str] = []
    for name, group in after.items():
        old = before.get(name, [])
        if old == group:
            continue
        if not old:
            for number, section in enumerate(group):
                added += _new(section, is_temporary=number > 0)
            continue
        edits = _edits_in_place(old, group, effective[name])
        if edits is not None:
            changed += edits
            continue
        rewritten.append(old[0].name)
        if len(old) == len(group) == 1 and _header(old[0]) == _header(group[0]):
            changed.append(Update("EmptyCat", old[0].name, options=_filter(old)))
            changed += _appends(old[0].name, group[0])
        else:
            deleted.append(name)
            for number, section in enumerate(group):
                added += _new(section, is_temporary=number > 0)
    return Plan((*_deletions(deleted, before), *changed, *added), tuple(rewritten))


def _deletions(deleted: Sequence[str], before: dict[str, list[Section]]) -> list[Update]:
    """Delete sections, heirs first: Asterisk still reads a deleted template, and may crash."""
    heirs = {
        name: {other for other, group in before.items() if any(name in map(name_key, one.inherits) for one in group)}
        for name in deleted
    }
    updates: list[Update] = []
    remaining = list(deleted)
    while remaining:
        free = [name for name in remaining if not heirs[name]]
        if not free:
            raise UnwritableError(f"[{before[remaining[0]][0].name}] is inherited by a section that stays")
        for name in free:
            updates.append(Update("DelCat", before[name][0].name, options=_filter(before[name])))
            for others in heirs.values():
                others.discard(name)
        remaining = [name for name in remaining if name not in free]
    return updates


def _by_name(sections: Sequence[Section]) -> dict[str, list[Section]]:
    groups: dict[str, list[Section]] = {}
    for section in sections:
        groups.setdefault(name_key(section.name), []).append(section)
    return groups


def _header(section: Section) -> tuple[bool, tuple[str, ...]]:
    return section.template, section.inherits


def _filter(group: Sequence[Section]) -> str:
    # Without it Asterisk does not find a template.
    return TEMPLATES if any(section.template for section in group) else ""


def _new(section: Section, *, is_temporary: bool) -> list[Update]:
    """Create a section. Beside another of its name it gets its lines under a temporary one, or both would get them."""
    options = ["allowdups"] if is_temporary else []
    if section.template:
        options.append("template")
    if section.inherits:
        options.append(f'inherit="{",".join(section.inherits)}"')
    name = f"{section.name}~new" if is_temporary else section.name
    updates = [Update("NewCat", name, options=",".join(options)), *_appends(name, section)]
    if is_temporary:
        updates.append(Update("RenameCat", name, value=section.name, options=_filter([section])))
    return updates


def _appends(name: str, section: Section) -> list[Update]:
    options = _filter([section])
    return [Update("Append", name, line.name, _value(line), options=options) for line in section.lines]


def _value(line: Line) -> str:
    return f"> {line.value}" if arrow(line) == "=>" else line.value


def _edits_in_place(old: Sequence[Section], new: Sequence[Section], effective: Sequence[Line]) -> list[Update] | None:
    """Return updates of single values and deletions of single lines, None if those do not suffice.

    UpdateConfig finds a line by name and value in all sections of a name. So the line must be unique in ``effective``,
    which holds all lines of these sections, inherited ones included.
    """
    if [(_header(one)) for one in old] != [(_header(one)) for one in new]:
        return None
    occurrences = Counter(_line_key(line) for line in effective)
    edits: list[Update] = []
    written: set[tuple[str, str]] = set()
    options = _filter(old)
    for before, after in zip(old, new, strict=True):
        pairs = _changed_lines(before.lines, after.lines)
        if pairs is None:
            return None
        for line, other in pairs:
            if occurrences[_line_key(line)] != 1 or _line_key(line) in written or not line.value:
                return None
            if other is None:
                edits.append(Update("Delete", before.name, line.name, match=line.value, options=options))
            else:
                written.add(_line_key(other))
                edits.append(Update("Update", before.name, line.name, _value(other), line.value, options))
    return edits


def _changed_lines(before: Sequence[Line], after: Sequence[Line]) -> list[tuple[Line, Line | None]] | None:
    """Return the changed lines, each with its successor (None: deleted), or None if any line is new."""
    pairs: list[tuple[Line, Line | None]] = []
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        names, others = [line.name for line in before[i:j]], [line.name for line in after[k:m]]
        for names_kind, first, last, to, end in SequenceMatcher(None, names, others, autojunk=False).get_opcodes():
            if names_kind == "equal":
                pairs += zip(before[i + first : i + last], after[k + to : k + end], strict=True)
            elif names_kind == "delete":
                pairs += [(line, None) for line in before[i + first : i + last]]
            else:
                return None
    return pairs


def _line_key(line: Line) -> tuple[str, str]:
    return line.name.lower(), line.value.lower()
