r"""The curl lines of the seed, read as a shell reads them.

``curl.tsv`` holds each with its lines in the seed. A line that ends with ``\`` or a bare ``-d``
is joined with the next. That holds inside quotes too, where a shell would send the backslash.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.contract import Operation, operations

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Curl(Struct, frozen=True):
    """The request of one line. ``detail`` is percent-encoded, as printed; ``basic`` is the value of -u."""

    lines: str
    row: str
    method: str
    form: str
    query: dict[str, str]
    body: str | None
    basic: str


def match(method: str, path: str) -> list[tuple[Operation, str]]:
    """Return the rows, and their forms of the path, that a request is one of."""
    return [
        (operation, form)
        for operation in operations().values()
        if operation.id.startswith("jade.") and operation.method == method
        for form in operation.paths
        if re.fullmatch(re.escape(form).replace(r"\{detail\}", "[^/]+"), path)
    ]


def read(lines: str, text: str) -> Curl:
    """Read one line. Fails unless it is a request of exactly one row."""
    words = shlex.split(text)
    assert words.pop(0) == "curl"
    method, body, basic, urls = "GET", None, "", []
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-d":
            body = words.pop(0)
        elif word == "-u":
            basic = words.pop(0)
        elif word != "-k":
            urls.append(word)
    (url,) = urls
    path, _, query = re.sub(r"^(https?://)?[^/]+", "", url).partition("?")
    ((operation, form),) = match(method, path)
    pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    return Curl(lines, operation.id, method, form, pairs, body, basic)


@cache
def curls() -> tuple[Curl, ...]:
    """Return them all, in the seed's order."""
    text = (Path(__file__).parent / "curl.tsv").read_text(encoding="utf-8")
    return tuple(read(*line.split("\t")) for line in text.splitlines())


def ours(printed: str, body: Any, replaced: set[str]) -> str:
    """Return the printed body with the uuids in it, and the values of members ``replaced``, taken from ``body``.

    Everything else stays as printed, with the blanks between members.
    """
    for name, value in msgspec.json.decode(printed).items():
        old, new = (value, body[name]) if isinstance(value, list) else ([value], [body.get(name)])
        for one, other in zip(old, new, strict=True):
            if isinstance(one, str) and (name in replaced or UUID.fullmatch(one)):
                printed = put(printed, name, one, other)
    return printed


def put(text: str, name: str, old: str, new: str) -> str:
    """Return the JSON text with ``new`` for ``old``, which is in the value of the member ``name``."""
    at = text.index(f'"{old}"', text.index(f'"{name}"') + len(name) + 2)
    return text[:at] + msgspec.json.encode(new).decode() + text[at + len(old) + 2 :]
