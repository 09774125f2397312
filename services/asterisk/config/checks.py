"""What Asterisk's modules would only log about their files, and go on without: found before anything is sent."""

import re

from schemas.configuration import DIALPLAN, PJSIP, Line
from services.asterisk.config.text import ConfigTextError, Numbered, alike, effective

NO_CONTEXTS = frozenset({"general", "globals"})
KEYWORDS = frozenset({"exten", "same", "include", "ignorepat", "switch", "lswitch", "eswitch", "autohints"})
PRIORITY = re.compile(r"([0-9]+|n|s|hint)(\+[0-9]+)?(\([^)]+\))?", re.IGNORECASE)


def check(file: str, found: Numbered) -> None:
    """Raise ConfigTextError for the first line that the file's module would not take."""
    whole = effective(found.sections)
    for index, section in enumerate(found.sections):
        if file == DIALPLAN and alike(section.name) not in NO_CONTEXTS:
            exten = False
            for line, number in zip(section.lines, found.numbers[index], strict=True):
                _dialplan(line, number, exten=exten)
                exten = exten or line.name.lower() == "exten"
        typed = any(line.name.lower() == "type" and line.value for line in whole[index])
        if file == PJSIP and not section.template and not typed:
            raise ConfigTextError(found.headers[index], f"section [{section.name}] has no type")


def _dialplan(line: Line, number: int, *, exten: bool) -> None:
    name = line.name.lower()
    if name not in KEYWORDS:
        raise ConfigTextError(number, f"{line.name} is no word of a dialplan: exten, same, include, ...")
    if name not in {"exten", "same"}:
        return
    if name == "same" and not exten:
        raise ConfigTextError(number, "same: no exten stands before it")
    parts = line.value.split(",", 2 if name == "exten" else 1)
    if name == "exten":
        # A pattern may hold a comma in none of Asterisk's forms; a caller id after a slash neither.
        parts = parts[1:] if parts[0].strip() else []
    if len(parts) < 2 or not parts[1].strip():
        form = "extension,priority,application" if name == "exten" else "priority,application"
        raise ConfigTextError(number, f"{name}: {form}")
    priority, application = parts[0].strip(), parts[1].strip()
    if not PRIORITY.fullmatch(priority):
        raise ConfigTextError(number, f"{name}: {priority!r} is no priority")
    if not priority.lower().startswith("hint") and "(" in application and not application.endswith(")"):
        raise ConfigTextError(number, f"{name}: no closing parenthesis at the end")
