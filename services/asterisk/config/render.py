"""Sections of a configuration file to text, in the form in which people write it."""

import hashlib
from collections.abc import Sequence

from schemas.configuration import Line, Section
from services.asterisk.config.text import BLANK

ARROWS = frozenset({"exten", "same", "include", "ignorepat", "switch", "lswitch", "eswitch", "member"})
"""Names whose lines are written with ``=>``, by convention."""
ESCAPED_STARTS = ("[", "#", "\\")
"""A line that begins so needs a backslash in front, which Asterisk reads and does not write."""


def render(sections: Sequence[Section]) -> str:
    """Return the text that `sections_in` parses to these sections."""
    return "\n".join(_render_section(section) for section in sections)


def digest(text: str) -> str:
    """Return the SHA-256 that `schemas.acts.config.ConfigReplace.base` compares (hexadecimal)."""
    return hashlib.sha256(text.encode()).hexdigest()


def arrow(line: Line) -> str:
    """Return the sign between name and value: ``=>`` or ``=``."""
    return "=>" if line.name.lower() in ARROWS or line.value.startswith(">") else "="


def _render_section(section: Section) -> str:
    options = ",".join((*(("!",) if section.template else ()), *section.inherits))
    header = f"[{section.name}]" + (f"({options})" if options else "")
    lines = [f"{_name(n.name)} {arrow(n)} {_escape(n.value)}".rstrip(BLANK) for n in section.lines]
    return "\n".join((_escape(header), *lines, ""))


def _name(name: str) -> str:
    return ("\\" if name.startswith(ESCAPED_STARTS) else "") + _escape(name)


def _escape(text: str) -> str:
    return text.replace(";", "\\;")
