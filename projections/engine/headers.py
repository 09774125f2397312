"""From the bytes of an event to its headers."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from projections.engine.cdr_csv import cdr_headers
from schemas.log import RecordedEvent

LAYOUTS = 8
"""How many layouts of one event are remembered; Asterisk has one or two of each."""


def headers_of(event: RecordedEvent) -> dict[str, Any]:
    """Decode an event's bytes into its headers; repeated ones are joined by LF, empty ones left out.

    Bytes that are no UTF-8, and NUL, which PostgreSQL's text cannot hold, become U+FFFD here; the log keeps them.
    """
    if event.source == "cdr_csv":
        return cdr_headers(_text(event))
    if event.source != "ami":
        decoded: dict[str, Any] = msgspec.json.decode(event.raw)
        return decoded
    return _parsed(_text(event))


def _text(event: RecordedEvent) -> str:
    text = event.raw.decode("utf-8", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _parsed(text: str) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        if value:
            value = value[1:] if value[0] == " " else value
            if value:
                headers[name] = value if name not in headers else f"{headers[name]}\n{value}"
    return headers


class HeaderSubset:
    """Some headers of the events of one name, which is all that a fold reads of them.

    Asterisk writes the headers of one event always in the same order, so a block of a known layout is taken apart by
    one regular expression that checks every line of it: 3 to 4 times as fast as `headers_of` (a fifth of all the
    work of a projector). A block that is unlike all known layouts is read in full, and becomes known.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._layouts: list[tuple[re.Pattern[str], list[str]]] = []

    def of(self, event: RecordedEvent) -> dict[str, Any]:
        """Return what `headers_of` returns, at least for the chosen names."""
        if event.source != "ami":
            return headers_of(event)
        text = _text(event)
        known = self._known(text)
        if known is not None:
            return known
        if len(self._layouts) < LAYOUTS:
            self._learn(text)
        return _parsed(text)

    def _known(self, text: str) -> dict[str, Any] | None:
        for layout, names in self._layouts:
            if match := layout.fullmatch(text):
                return {name: value for name, value in zip(names, match.groups(), strict=True) if value}
        return None

    def _learn(self, text: str) -> None:
        lines: list[str] = []
        names: list[str] = []
        for line in text.split("\r\n"):
            name, colon, _ = line.partition(":")
            if not colon:
                lines.append(re.escape(line))
            elif name in self.names:
                # Every line can match in one way only, so a block that is unlike is known as such in linear time: a dot
                # is no LF, and the space is never given back.
                names.append(name)
                lines.append(f"{re.escape(name)}: ?+(.*)")
            else:
                lines.append(f"{re.escape(name)}:.*")
        if len(names) == len(set(names)):  # one that is repeated must be joined
            self._layouts.append((re.compile("\r\n".join(lines)), names))
