"""Secrets in what the dialplan runs: the data of an application, and AGI commands."""

import re

from schemas.secrets import MASK, is_secret

# Each name is tried once, from where it begins, and never given back: a long text without a sign costs its length.
PAIR = re.compile(r"(?<![^\s,;&|?=:\"'{}])([^\s,;&|?=:\"'{}]++)[\"']? *[=:] *")
VALUE = re.compile(r"\"([^\"\r\n]+)|'([^'\r\n]+)|([^,&;|\"'\r\n]+)")
SECRET_ARGUMENT = {"authenticate": 0, "disa": 0, "meetme": 2}
"""Which argument is a password by its place (app_authenticate.c, app_disa.c, app_meetme.c)."""
NO_PASSWORD = ("/", "no-password")
"""Such a first argument is a path, a family of the AstDB, or none."""
REFERENCE = re.compile(r"\$\{[\w()~,:/-]*\}")
"""A variable in a dialplan as it is written; only what it stands for is a secret."""
WHOLE = frozenset({"set", "sipaddheader"})
"""The value of the one variable or header is all the rest, commas too (pbx_variables.c, chan_sip.c)."""

AGI_EXEC = re.compile(r"\s*exec\s+\"?(\w+)\"?\s+(.*)", re.IGNORECASE | re.DOTALL)
AGI_SET = re.compile(
    r"\s*(?:set\s+variable\s+\"?([^\s\"]+)\"?|database\s+put\s+\"?([^\s\"]+\"?\s+\"?[^\s\"]+)\"?)\s+",
    re.IGNORECASE,
)


def masked_data(application: str, data: str) -> str:
    """Return an application's data without secrets: values of secret names, and passwords by their place."""
    name = application.strip().lower()
    place = SECRET_ARGUMENT.get(name)
    if place is not None:
        arguments = data.split(",")
        if len(arguments) > place and not arguments[place].startswith(NO_PASSWORD):
            arguments[place] = _mask(arguments[place])
        return ",".join(arguments)
    if name in WHOLE:
        found = re.search(": *" if name == "sipaddheader" else "=", data)
        return data[: found.end()] + _mask(data[found.end() :]) if found and is_secret(data[: found.start()]) else data
    return masked_pairs(data)


def masked_pairs(text: str) -> str:
    """Return the text with the values of secret names masked in each ``name=value`` and ``name: value``."""
    parts: list[str] = []
    start = 0
    for pair in PAIR.finditer(text):
        if pair.start() >= start and is_secret(pair[1]) and (value := VALUE.match(text, pair.end())):
            group = value.lastindex or 0
            parts += text[start : value.start(group)], _mask(value[group])
            start = value.end(group)
    return "".join([*parts, text[start:]])


def _mask(value: str) -> str:
    return MASK if value and not REFERENCE.fullmatch(value) else value


def masked_command(command: str) -> str:
    """Return an AGI command without secrets: SET VARIABLE, DATABASE PUT, and the data of EXEC."""
    if found := AGI_EXEC.fullmatch(command):
        return command[: found.start(2)] + masked_data(found[1], found[2])
    if (found := AGI_SET.match(command)) and is_secret(found[1] or found[2]):
        return command[: found.end()] + _mask(command[found.end() :])
    return command
