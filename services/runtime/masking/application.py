"""Masks the secrets of dialplan applications' data, and of AGI commands."""

import re

from schemas.secrets import MASK, STEMS, is_secret

# Possessive: each name is tried once, so a long text without a separator takes linear time.
PAIR = re.compile(r"(?<![^\s,;&|?=:\"'{}])([^\s,;&|?=:\"'{}]++)[\"']? *[=:] *")
VALUE = re.compile(r"\"([^\"\r\n]+)|'([^'\r\n]+)|([^,&;|\"'\r\n]+)")
SECRET_ARGUMENT = {"authenticate": 0, "disa": 0, "meetme": 2}
"""The number of the argument that is a password (app_authenticate.c, app_disa.c, app_meetme.c)."""
SECRET_WORDS = tuple(stem.encode() for stem in (*STEMS, *SECRET_ARGUMENT))
"""Text in small letters without any of these has no secret."""
NO_PASSWORD = ("/", "no-password")
"""Prefixes of an argument that is a path, a family of the AstDB, or empty."""
VARIABLE_REFERENCE = re.compile(r"\$\{[\w()~,:/-]*\}")
"""A variable reference in a dialplan; only its value is a secret."""
WHOLE_ARGUMENT = frozenset({"set", "sipaddheader"})
"""Applications with one variable or header, whose value is the rest, commas included (pbx_variables.c, chan_sip.c)."""

AGI_EXEC = re.compile(r"\s*exec\s+\"?(\w+)\"?\s+(.*)", re.IGNORECASE | re.DOTALL)
AGI_SET = re.compile(
    r"\s*(?:set\s+variable\s+\"?([^\s\"]+)\"?|database\s+put\s+\"?([^\s\"]+\"?\s+\"?[^\s\"]+)\"?)\s+",
    re.IGNORECASE,
)


def mask_application_data(application: str, data: str) -> str:
    """Return an application's data with secrets masked: values of secret names, and passwords by their position."""
    name = application.strip().lower()
    index = SECRET_ARGUMENT.get(name)
    if index is not None:
        arguments = data.split(",")
        if len(arguments) > index and not arguments[index].startswith(NO_PASSWORD):
            arguments[index] = _mask(arguments[index])
        return ",".join(arguments)
    if name in WHOLE_ARGUMENT:
        match = re.search(": *" if name == "sipaddheader" else "=", data)
        return data[: match.end()] + _mask(data[match.end() :]) if match and is_secret(data[: match.start()]) else data
    return mask_pairs(data)


def mask_pairs(text: str) -> str:
    """Return the text with the values of secret names masked, in ``name=value`` and ``name: value``."""
    parts: list[str] = []
    start = 0
    for pair in PAIR.finditer(text):
        if pair.start() >= start and is_secret(pair[1]) and (value := VALUE.match(text, pair.end())):
            group = value.lastindex or 0
            parts += text[start : value.start(group)], _mask(value[group])
            start = value.end(group)
    return "".join([*parts, text[start:]])


def _mask(value: str) -> str:
    return MASK if value and not VARIABLE_REFERENCE.fullmatch(value) else value


def mask_agi_command(command: str) -> str:
    """Return an AGI command with secrets masked: SET VARIABLE, DATABASE PUT, and the data of EXEC."""
    if match := AGI_EXEC.fullmatch(command):
        return command[: match.start(2)] + mask_application_data(match[1], match[2])
    if (match := AGI_SET.match(command)) and is_secret(match[1] or match[2]):
        return command[: match.end()] + _mask(command[match.end() :])
    return command
