"""Text of a configuration file to sections, as Asterisk parses it (main/config.c), and sections to text."""

import hashlib
import re
import string
from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.configuration import Line, Section

ARROWS = frozenset({"exten", "same", "include", "ignorepat", "switch", "lswitch", "eswitch", "member"})
"""Names whose lines are written with ``=>``, as people write them."""

BLANK = "".join(map(chr, range(33)))
"""What Asterisk strips; Python's own idea of it is another one."""
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
HEADER = re.compile(r"\[([^\]]*)\](.*)")
ODD = ("[", "#", "\\")
"""A line cannot begin so: a \\ stands before it, which Asterisk reads and does not write."""
LONGEST_NAME = 79
"""Bytes of a section's name that Asterisk keeps."""
LONGEST_LINE = 980
"""Bytes of a name or value: AMI line has at most 1,000 with the header's name (services/asterisk/ami/actions.py)."""


MOST_INHERITED = 1_000_000
"""Lines that the sections of a file may have from templates, all together; each level may double them."""


class InheritanceError(ValueError):
    """The sections of a file inherit more lines than `MOST_INHERITED`."""

    def __init__(self) -> None:
        super().__init__(f"sections inherit more than {MOST_INHERITED} lines from templates")


class ConfigTextError(Exception):
    """No text of a configuration file; ``line`` counts from 1, ``words`` say what is wrong with it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.words = message


class Numbered(Struct):
    """What was parsed, and in which line of the text each section and each of its lines stands."""

    sections: list[Section] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)


def parse(text: str, *, written: bool = False) -> Numbered:
    """Return the sections of a text. Raises ConfigTextError for what Asterisk would refuse, pass over, or not write.

    Comments are passed over. A directive (``#include``) is an error: AMI cannot write one, and what it includes
    stands in the text that AMI reads. ``written``: the text is `render`'s, of what Asterisk itself has read.
    """
    found = Numbered()
    lines: list[list[Line]] = []
    for number, line in uncommented(text):
        if line.startswith("["):
            found.sections.append(_header(number, line))
            found.headers.append(number)
            found.numbers.append([])
            lines.append([])
        elif line.startswith("#"):
            words = "a directive cannot be written over AMI; included sections are part of this text"
            raise ConfigTextError(number, words)
        elif not found.sections:
            raise ConfigTextError(number, "no section begins before this line")
        else:
            lines[-1].append(_line(line) if written else _line_to_write(number, line))
            found.numbers[-1].append(number)
    found.sections = [replace(one, lines=tuple(said)) for one, said in zip(found.sections, lines, strict=True)]
    if not written:
        _writable(found)
    return found


def sections_in(text: str) -> list[Section]:
    """Return the sections of a text that `render` made."""
    return parse(text, written=True).sections


def uncommented(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers; a semicolon has no backslash before it any more."""
    depth, begun = 0, 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        kept: list[str] = []
        at = 0
        while at < len(line):
            if line[at] != ";":
                if not depth:
                    kept.append(line[at])
            elif at and line[at - 1] == "\\":
                if not depth:
                    kept[-1] = ";"
            elif line.startswith(";--", at) and not line.startswith(";---", at):
                depth, begun, at = depth + 1, number, at + 2
            elif depth and line[max(0, at - 2) : at] == "--":
                depth -= 1
            elif not depth:
                break
            at += 1
        said = "".join(kept).strip(BLANK)
        if said:
            yield number, said
    if depth:
        raise ConfigTextError(begun, "the comment that begins here has no end")


def _header(number: int, line: str) -> Section:
    match = HEADER.fullmatch(line)
    if match is None:
        raise ConfigTextError(number, "no closing ]")
    name, more = match[1], match[2].strip(BLANK)
    if more and not (more.startswith("(") and more.endswith(")")):
        raise ConfigTextError(number, "after ] only (!) or (template) can stand")
    options = [option.strip(BLANK) for option in more[1:-1].split(",")]
    inherits = tuple(option for option in options if option not in {"", "!"})
    return Section(name, (), "!" in options, inherits)


def _writable(found: Numbered) -> None:
    heritage = Heritage()
    for section, header, numbers in zip(found.sections, found.headers, found.numbers, strict=True):
        name = section.name
        if not name or name != name.strip(BLANK) or ";" in name:
            raise ConfigTextError(header, "a section's name is not empty, and has no blanks around it and no semicolon")
        if len(name.encode()) > LONGEST_NAME:
            raise ConfigTextError(header, f"a section's name has at most {LONGEST_NAME} bytes")
        for template in section.inherits:
            if template.startswith("+"):
                raise ConfigTextError(header, "(+) cannot be written over AMI; write the lines in the section itself")
            if not heritage.knows(template):
                raise ConfigTextError(header, f"no section [{template}] stands before this one")
        try:
            above = frozenset(heritage.above(section))
            heritage.add(section)
        except InheritanceError as error:
            raise ConfigTextError(header, str(error)) from None
        for line, number in zip(section.lines, numbers, strict=True):
            if line in above:
                words = "says what a template of this section says; Asterisk would not write it"
                raise ConfigTextError(number, words)


def _line(line: str) -> Line:
    name, _, value = line.removeprefix("\\").partition("=")
    return Line(name.strip(BLANK), value.removeprefix(">").strip(BLANK))


def _line_to_write(number: int, line: str) -> Line:
    if "=" not in line:
        raise ConfigTextError(number, "no = in this line")
    made = _line(line)
    if not made.name:
        raise ConfigTextError(number, "no name before =")
    if line.startswith("\\") or made.name.endswith("+") or ";" in made.name:
        raise ConfigTextError(number, "+=, names that begin with \\, and ; in names cannot be written over AMI")
    if len(made.name.encode()) > LONGEST_LINE or len(made.value.encode()) > LONGEST_LINE:
        raise ConfigTextError(number, f"a name or value has at most {LONGEST_LINE} bytes")
    return made


def alike(name: str) -> str:
    """Return what two names of sections have in common if Asterisk takes one for the other."""
    return name.translate(LOWER)


class Heritage:
    """What sections have from others, which must be added in the file's order; of one name the first is inherited."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[Line, ...]] = {}
        self._inherited = 0

    def add(self, section: Section) -> None:
        """Let later sections inherit this one. Raises InheritanceError."""
        above = self.above(section)
        self._inherited += len(above)
        self._lines.setdefault(alike(section.name), (*above, *section.lines))

    def knows(self, name: str) -> bool:
        """Tell whether there is a section of this name."""
        return alike(name) in self._lines

    def above(self, section: Section) -> tuple[Line, ...]:
        """Return the lines that a section inherits, in order. Raises InheritanceError."""
        parts = [self._lines.get(alike(name), ()) for name in section.inherits]
        if self._inherited + sum([len(part) for part in parts]) > MOST_INHERITED:
            raise InheritanceError
        return tuple(line for part in parts for line in part)


def effective(sections: Sequence[Section]) -> list[tuple[Line, ...]]:
    """Return all lines of each section: what it inherits, then its own."""
    heritage = Heritage()
    found = []
    for section in sections:
        found.append((*heritage.above(section), *section.lines))
        heritage.add(section)
    return found


def with_option(section: Section, option: str, value: str) -> Section:
    """Return the section with the option set once, where it stood first."""
    lines = [line for line in section.lines if line.name.lower() != option.lower()]
    first = next((n for n, line in enumerate(section.lines) if line.name.lower() == option.lower()), len(lines))
    return replace(section, lines=(*lines[:first], Line(option, value), *lines[first:]))


def render(sections: Sequence[Section]) -> str:
    """Return the text that `parse` makes these sections of."""
    return "\n".join(_rendered(section) for section in sections)


def _rendered(section: Section) -> str:
    options = ",".join((*(("!",) if section.template else ()), *section.inherits))
    header = f"[{section.name}]" + (f"({options})" if options else "")
    lines = [f"{_name(n.name)} {arrow(n)} {_escaped(n.value)}".rstrip(BLANK) for n in section.lines]
    return "\n".join((_escaped(header), *lines, ""))


def _name(name: str) -> str:
    return ("\\" if name.startswith(ODD) else "") + _escaped(name)


def digest(text: str) -> str:
    """Return what `schemas.acts.config.ConfigReplace.base` says of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def arrow(line: Line) -> str:
    """Return what stands between name and value."""
    return "=>" if line.name.lower() in ARROWS or line.value.startswith(">") else "="


def _escaped(text: str) -> str:
    return text.replace(";", "\\;")
