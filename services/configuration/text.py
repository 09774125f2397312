"""Text of a configuration file to sections, as Asterisk parses it (main/config.c), and sections to text."""

import hashlib
import re
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from schemas.configuration import Line, Section

ARROWS = frozenset({"exten", "same", "include", "ignorepat", "switch", "lswitch", "eswitch", "member"})
"""Names whose lines are written with ``=>``, as people write them."""

BLANK = "".join(map(chr, range(33)))
"""What Asterisk strips; Python's own idea of it is another one."""
HEADER = re.compile(r"\[([^\]]*)\](.*)")
ODD = ("[", "#", "\\")
"""A line cannot begin so: a \\ stands before it, which Asterisk reads and does not write."""
LONGEST_NAME = 79
"""Bytes of a section's name that Asterisk keeps."""
LONGEST_LINE = 980
"""Bytes of a name or value: an AMI line has at most 1,000 (services/acts/asked.py), with the header's name."""


class ConfigTextError(Exception):
    """No text of a configuration file; ``line`` counts from 1, ``words`` say what is wrong with it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.words = message


class Numbered:
    """What was parsed, and in which line of the text each section and each of its lines stands."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.headers: list[int] = []
        self.numbers: list[list[int]] = []

    def add(self, number: int, section: Section) -> None:
        """Add a section whose header stands in line ``number``."""
        self.sections.append(section)
        self.headers.append(number)
        self.numbers.append([])

    def line(self, number: int, line: Line) -> None:
        """Add a line to the last section."""
        last = self.sections[-1]
        self.sections[-1] = Section(last.name, (*last.lines, line), last.template, last.inherits)
        self.numbers[-1].append(number)


def parse(text: str, *, written: bool = False) -> Numbered:
    """Return the sections of a text. Raises ConfigTextError for what Asterisk would refuse, pass over, or not write.

    Comments are passed over. A directive (``#include``) is an error: AMI cannot write one, and what it includes
    stands in the text that AMI reads. ``written``: the text is `render`'s, of what Asterisk itself has read.
    """
    found = Numbered()
    for number, line in uncommented(text):
        if line.startswith("["):
            section = _header(number, line)
            if not written:
                _writable(number, section, found.sections)
            found.add(number, section)
        elif line.startswith("#"):
            raise ConfigTextError(
                number, "a directive cannot be written over AMI; included sections are part of this text"
            )
        elif not found.sections:
            raise ConfigTextError(number, "no section begins before this line")
        else:
            found.line(number, _line(line) if written else _line_to_write(number, line))
            if not written:
                _no_repetition(number, found.sections)
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


def _writable(number: int, section: Section, before: Sequence[Section]) -> None:
    name = section.name
    if not name or name != name.strip(BLANK) or ";" in name:
        raise ConfigTextError(number, "a section's name is not empty, and has no blanks around it and no semicolon")
    if len(name.encode()) > LONGEST_NAME:
        raise ConfigTextError(number, f"a section's name has at most {LONGEST_NAME} bytes")
    if any(option.startswith("+") for option in section.inherits):
        raise ConfigTextError(number, "(+) cannot be written over AMI; write the lines in the section itself")
    known = {alike(one.name) for one in before}
    for template in section.inherits:
        if alike(template) not in known:
            raise ConfigTextError(number, f"no section [{template}] stands before this one")


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


def _no_repetition(number: int, sections: Sequence[Section]) -> None:
    last = sections[-1]
    if last.lines[-1] in inherited(last, sections[:-1]):
        raise ConfigTextError(number, "says what a template of this section says; Asterisk would not write it")


def alike(name: str) -> str:
    """Return what two names of sections have in common if Asterisk takes one for the other."""
    return re.sub("[A-Z]+", lambda letters: letters[0].lower(), name)


def inherited(section: Section, before: Sequence[Section]) -> tuple[Line, ...]:
    """Return the lines that a section has from its templates, in order."""
    lines: list[Line] = []
    for template in section.inherits:
        for place, other in reversed(list(enumerate(before))):
            if alike(other.name) == alike(template):
                lines += (*inherited(other, before[:place]), *other.lines)
                break
    return tuple(lines)


def effective(section: Section, before: Sequence[Section]) -> tuple[Line, ...]:
    """Return all lines of a section: what it inherits, then its own."""
    return (*inherited(section, before), *section.lines)


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
