"""Text of a configuration file to sections, as Asterisk parses it (main/config.c)."""

import re
from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.configuration import Line, Section
from services.asterisk.config.sections import Inheritance, InheritanceError

BLANK = "".join(map(chr, range(33)))
"""The characters that Asterisk strips; Python strips others."""
HEADER = re.compile(r"\[([^\]]*)\](.*)")
MAX_SECTION_NAME_BYTES = 79
"""Asterisk truncates longer names of sections."""
MAX_TEXT_BYTES = 980
"""Limit of a name or value: an AMI line has at most 1,000 bytes with its header (services/asterisk/ami/actions.py)."""


class ConfigTextError(Exception):
    """A text that is no configuration file; ``line`` counts from 1, ``reason`` is the message without the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.reason = message


class ParsedText(Struct):
    """The sections of a text, the line numbers of their headers, and those of their lines."""

    sections: list[Section] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)


def parse(text: str, *, is_rendered: bool = False) -> ParsedText:
    """Return the sections of a text.

    Comments are skipped. A directive (``#include``) is an error: AMI cannot write one, and the text that AMI reads
    already has the included sections. ``is_rendered``: the text comes from `render`, and the sections from Asterisk.

    Raises ConfigTextError for a line that Asterisk would refuse or ignore, or that AMI cannot write.
    """
    parsed = ParsedText()
    lines: list[list[Line]] = []
    for number, line in significant_lines(text):
        if line.startswith("["):
            parsed.sections.append(_header(number, line))
            parsed.headers.append(number)
            parsed.numbers.append([])
            lines.append([])
        elif line.startswith("#"):
            reason = "a directive cannot be written over AMI; included sections are part of this text"
            raise ConfigTextError(number, reason)
        elif not parsed.sections:
            raise ConfigTextError(number, "this line precedes the first section")
        else:
            lines[-1].append(_line(line) if is_rendered else _line_to_write(number, line))
            parsed.numbers[-1].append(number)
    parsed.sections = [replace(one, lines=tuple(own)) for one, own in zip(parsed.sections, lines, strict=True)]
    if not is_rendered:
        _require_writable(parsed)
    return parsed


def sections_in(text: str) -> list[Section]:
    """Return the sections of a text that `render` made."""
    return parse(text, is_rendered=True).sections


def significant_lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield the lines that are neither blank nor comments, with their numbers; ``\;`` becomes a semicolon."""
    depth, opened_at = 0, 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        letters: list[str] = []
        at = 0
        while at < len(line):
            if line[at] != ";":
                if not depth:
                    letters.append(line[at])
            elif at and line[at - 1] == "\\":
                if not depth:
                    letters[-1] = ";"
            elif line.startswith(";--", at) and not line.startswith(";---", at):
                depth, opened_at, at = depth + 1, number, at + 2
            elif depth and line[max(0, at - 2) : at] == "--":
                depth -= 1
            elif not depth:
                break
            at += 1
        content = "".join(letters).strip(BLANK)
        if content:
            yield number, content
    if depth:
        raise ConfigTextError(opened_at, "the comment that begins here has no end")


def _header(number: int, line: str) -> Section:
    match = HEADER.fullmatch(line)
    if match is None:
        raise ConfigTextError(number, "the closing ] is missing")
    name, suffix = match[1], match[2].strip(BLANK)
    if suffix and not (suffix.startswith("(") and suffix.endswith(")")):
        raise ConfigTextError(number, "only (!) or (template) may follow the ]")
    options = [option.strip(BLANK) for option in suffix[1:-1].split(",")]
    inherits = tuple(option for option in options if option not in {"", "!"})
    return Section(name, (), "!" in options, inherits)


def _require_writable(parsed: ParsedText) -> None:
    inheritance = Inheritance()
    for section, header, numbers in zip(parsed.sections, parsed.headers, parsed.numbers, strict=True):
        _require_writable_header(section, header, inheritance)
        try:
            inherited = frozenset(inheritance.lines_above(section))
            inheritance.add(section)
        except InheritanceError as error:
            raise ConfigTextError(header, str(error)) from None
        for line, number in zip(section.lines, numbers, strict=True):
            if line in inherited:
                reason = "a template of this section has the same line; Asterisk would not write it"
                raise ConfigTextError(number, reason)


def _require_writable_header(section: Section, number: int, inheritance: Inheritance) -> None:
    name = section.name
    if not name or name != name.strip(BLANK) or ";" in name:
        raise ConfigTextError(
            number, "a section's name must not be empty, have blanks around it or contain a semicolon"
        )
    if len(name.encode()) > MAX_SECTION_NAME_BYTES:
        raise ConfigTextError(number, f"a section's name has at most {MAX_SECTION_NAME_BYTES} bytes")
    for template in section.inherits:
        if template.startswith("+"):
            raise ConfigTextError(number, "(+) cannot be written over AMI; write the lines in the section itself")
        if template not in inheritance:
            raise ConfigTextError(number, f"no section [{template}] precedes this one")


def _line(line: str) -> Line:
    name, _, value = line.removeprefix("\\").partition("=")
    return Line(name.strip(BLANK), value.removeprefix(">").strip(BLANK))


def _line_to_write(number: int, line: str) -> Line:
    if "=" not in line:
        raise ConfigTextError(number, "this line has no =")
    parsed = _line(line)
    if not parsed.name:
        raise ConfigTextError(number, "this line has no name before the =")
    if line.startswith("\\") or parsed.name.endswith("+") or ";" in parsed.name:
        raise ConfigTextError(number, "+=, names that begin with \\, and ; in names cannot be written over AMI")
    if len(parsed.name.encode()) > MAX_TEXT_BYTES or len(parsed.value.encode()) > MAX_TEXT_BYTES:
        raise ConfigTextError(number, f"a name or value has at most {MAX_TEXT_BYTES} bytes")
    return parsed
