"""Checks of lines that Asterisk's modules would only log and skip; they run before anything is sent."""

import re

from schemas.configuration import DIALPLAN, PJSIP, Line
from services.asterisk.config.sections import effective_lines, name_key
from services.asterisk.config.text import ConfigTextError, ParsedText

FILE_SETTINGS = frozenset({"general", "globals"})
"""Sections of a dialplan that are no contexts, but settings of the whole file."""
KEYWORDS = frozenset({"exten", "same", "include", "ignorepat", "switch", "lswitch", "eswitch", "autohints"})
PRIORITY = re.compile(r"([0-9]+|n|s|hint)(\+[0-9]+)?(\([^)]+\))?", re.IGNORECASE)


def check_text(file: str, parsed: ParsedText) -> None:
    """Raise ConfigTextError for the first line that the file's module would not accept."""
    effective = effective_lines(parsed.sections)
    for index, section in enumerate(parsed.sections):
        if file == DIALPLAN and name_key(section.name) not in FILE_SETTINGS:
            has_exten = False
            for line, number in zip(section.lines, parsed.numbers[index], strict=True):
                _check_dialplan(line, number, has_exten=has_exten)
                has_exten = has_exten or line.name.lower() == "exten"
        has_type = any(line.name.lower() == "type" and line.value for line in effective[index])
        if file == PJSIP and not section.template and not has_type:
            raise ConfigTextError(parsed.headers[index], f"section [{section.name}] has no type")


def _check_dialplan(line: Line, number: int, *, has_exten: bool) -> None:
    name = line.name.lower()
    if name not in KEYWORDS:
        raise ConfigTextError(number, f"{line.name} is not a keyword of a dialplan (exten, same, include, ...)")
    if name not in {"exten", "same"}:
        return
    if name == "same" and not has_exten:
        raise ConfigTextError(number, "same needs an exten before it")
    parts = line.value.split(",", 2 if name == "exten" else 1)
    if name == "exten":
        # No form of a pattern contains a comma, nor does a caller id after a slash.
        parts = parts[1:] if parts[0].strip() else []
    if len(parts) < 2 or not parts[1].strip():
        form = "extension,priority,application" if name == "exten" else "priority,application"
        raise ConfigTextError(number, f"{name} must have the form {form}")
    priority, application = parts[0].strip(), parts[1].strip()
    if not PRIORITY.fullmatch(priority):
        raise ConfigTextError(number, f"{name}: {priority!r} is not a priority")
    if not priority.lower().startswith("hint") and "(" in application and not application.endswith(")"):
        raise ConfigTextError(number, f"{name}: the closing parenthesis is missing at the end")
