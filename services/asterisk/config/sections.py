"""Sections of a configuration file: their names, options, and the lines that they inherit (main/config.c)."""

import string
from collections.abc import Sequence

from msgspec.structs import replace

from schemas.configuration import Line, Section

LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
MAX_INHERITED_LINES = 1_000_000
"""Limit of inherited lines in one file, because each level of templates may double them."""


class InheritanceError(ValueError):
    """The sections of a file inherit more than `MAX_INHERITED_LINES`."""

    def __init__(self) -> None:
        super().__init__(f"sections inherit more than {MAX_INHERITED_LINES} lines from templates")


def name_key(name: str) -> str:
    """Return the key by which Asterisk compares names of sections: ASCII letters in any case are equal."""
    return name.translate(LOWER)


def with_option(section: Section, option: str, value: str) -> Section:
    """Return the section with the option set once, in the place of its first occurrence."""
    lines = [line for line in section.lines if line.name.lower() != option.lower()]
    first = next((n for n, line in enumerate(section.lines) if line.name.lower() == option.lower()), len(lines))
    return replace(section, lines=(*lines[:first], Line(option, value), *lines[first:]))


class Inheritance:
    """The sections of a file that later ones may inherit; of several with one name the first counts.

    Sections must be added in the file's order.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[Line, ...]] = {}
        self._total = 0

    def __contains__(self, name: str) -> bool:
        return name_key(name) in self._lines

    @property
    def total(self) -> int:
        """How many lines all added sections inherit."""
        return self._total

    def add(self, section: Section) -> None:
        """Let later sections inherit this one. Raises InheritanceError."""
        inherited = self.lines_above(section)
        self._total += len(inherited)
        self._lines.setdefault(name_key(section.name), (*inherited, *section.lines))

    def lines_above(self, section: Section) -> tuple[Line, ...]:
        """Return the lines that a section inherits, in order. Raises InheritanceError."""
        parts = [self._lines.get(name_key(name), ()) for name in section.inherits]
        if self._total + sum([len(part) for part in parts]) > MAX_INHERITED_LINES:
            raise InheritanceError
        return tuple(line for part in parts for line in part)


def effective_lines(sections: Sequence[Section]) -> list[tuple[Line, ...]]:
    """Return all lines of each section: the inherited ones, then its own. Raises InheritanceError."""
    inheritance = Inheritance()
    lines = []
    for section in sections:
        lines.append((*inheritance.lines_above(section), *section.lines))
        inheritance.add(section)
    return lines
