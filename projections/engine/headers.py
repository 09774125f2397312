"""Reads the headers of AMI blocks, and of events of the log."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from projections.engine.cdr_csv import cdr_headers
from projections.engine.cel_csv import cel_headers
from projections.engine.queue_log import queue_log_headers
from projections.engine.shapers import Shaper, shaper_of
from schemas.log import RecordedEvent
from schemas.text import decode_text, replace_nul

MAX_LAYOUTS = 8
"""How many layouts of one event are remembered; Asterisk has one or two of each."""


def pairs(block: str) -> Iterator[tuple[str, str | None]]:
    """Yield (name, value) of each line of an AMI block but empty ones, in order; a line without a colon has no value.

    Asterisk writes one space after the colon, which is not part of the value.
    """
    for line in block.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.removeprefix(" ")
        elif line:
            yield line, None


def headers_of(event: RecordedEvent) -> dict[str, Any]:
    """Return the headers of an event; repeated ones are joined by LF, empty ones left out.

    Bytes that are not UTF-8, and NUL, which PostgreSQL's text cannot hold, become U+FFFD here; the log keeps them.
    """
    if event.source in {"ari", "ringledger"}:
        decoded: dict[str, Any] = msgspec.json.decode(event.raw)
        return decoded
    text = decode_text(event.raw)
    if event.source == "cdr_csv":
        return cdr_headers(text)
    if event.source == "cel_csv":
        return cel_headers(text)
    if event.source == "queue_log":
        return queue_log_headers(text)
    return _joined(text)


def _joined(text: str) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for name, value in pairs(text):
        if value:
            headers[name] = value if name not in headers else f"{headers[name]}\n{value}"
    return headers


class Layout:
    """The lines of the blocks of one event: a regular expression whose groups are the values of ``names``.

    ``shapers`` makes shapes of these values.
    """

    __slots__ = ("fullmatch", "names", "shapers")

    def __init__(self, pattern: str, names: Sequence[str]) -> None:
        self.fullmatch = re.compile(pattern).fullmatch
        self.names = names
        self.shapers = Shapers(names)

    def headers(self, values: Sequence[str]) -> dict[str, Any]:
        """Return the headers that have a value, by name."""
        return {name: value for name, value in zip(self.names, values, strict=True) if value}


class Shapers(dict[type[Any], Shaper | None]):
    """The shaper of each shape that is read of a layout; each is made when it is first read."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def __missing__(self, shape: type[Any]) -> Shaper | None:
        made = self[shape] = shaper_of(self._names, shape)  # type: ignore[arg-type]  # for mypy no class has a hash
        return made


class HeaderSubset:
    """The headers that folds read of the events of one name.

    Asterisk always writes the headers of one event in the same order. So a regular expression, which checks every
    line, reads a block of a remembered layout 3 to 4 times as fast as `headers_of`.
    Any other block is parsed in full, and its layout is remembered.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._layouts: list[Layout] = []

    def find(self, event: RecordedEvent) -> tuple[Layout, Sequence[str]] | None:
        """Return the remembered layout of an event's block, and its values; None for any other event."""
        if event.source == "ami":
            text = event.raw.decode("utf-8", "replace")
            if "\0" in text:
                text = replace_nul(text)
            for layout in self._layouts:
                if match := layout.fullmatch(text):
                    return layout, match.groups()
        return None

    def parse(self, event: RecordedEvent) -> dict[str, Any]:
        """Return what `headers_of` returns, at least for the headers in ``names``, and remember the layout."""
        if event.source != "ami":
            return headers_of(event)
        if (match := self.find(event)) is not None:
            layout, values = match
            return layout.headers(values)
        text = decode_text(event.raw)
        if len(self._layouts) < MAX_LAYOUTS:
            self._remember_layout(text)
        return _joined(text)

    def _distinct(self, name: str) -> str:
        """Return as much of a header's line as shows that it is not in ``names``: each character costs time."""
        line = f"{name}:"
        for length in range(1, len(line)):
            if not any(f"{other}:".startswith(line[:length]) for other in self.names):
                return line[:length]
        return line

    def _remember_layout(self, text: str) -> None:
        lines: list[str] = []
        names: list[str] = []
        for line in text.split("\r\n"):
            name, colon, _ = line.partition(":")
            if not colon:
                lines.append(re.escape(line))
            elif name in self.names:
                # Each line can match in one way only, so a block of another layout fails in linear time: a dot does
                # not match LF, and the possessive quantifier never gives the space back.
                names.append(name)
                lines.append(f"{re.escape(name)}: ?+(.*)")
            else:
                lines.append(f"{re.escape(self._distinct(name))}.*")
        if len(names) == len(set(names)):  # values of a repeated header must be joined
            self._layouts.append(Layout("\r\n".join(lines), names))
