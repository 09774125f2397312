"""What a request asks of the ledger: its parameters, each checked, and none that nobody reads."""

import re
from datetime import UTC, datetime

from aiohttp import web

from api.http.errors import ApiError

MAX_POSITION = (1 << 63) - 1
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def stamp(when: datetime | None) -> str | None:
    """Write a time as the ledger's answers do: RFC 3339, UTC, always with microseconds."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


class QueryParams:
    """The query of a request. A parameter that is not ``known`` is refused: a filter misspelt would let all through.

    All methods raise ApiError 400, and return None for what was not asked.
    """

    def __init__(self, request: web.Request, *known: str) -> None:
        self._query = request.query
        for name in self._query:
            if name not in known and name != "authtoken":
                raise ApiError(400, f"{name}: no such parameter; there are {', '.join(known)}")

    def every(self, name: str) -> list[str] | None:
        """Return a parameter that may be repeated."""
        values = [_text(name, value) for value in self._query.getall(name, [])]
        return values or None

    def text(self, name: str) -> str | None:
        """Return a parameter that may come once."""
        values = self.every(name)
        if values and len(values) > 1:
            raise ApiError(400, f"{name}: only one")
        return values[0] if values else None

    def bytes(self, name: str) -> bytes | None:
        """Return the UTF-8 of a text that is looked for; the empty one is in everything."""
        value = self.text(name)
        if value == "":
            raise ApiError(400, f"{name}: is empty")
        return None if value is None else value.encode()

    def time(self, name: str) -> datetime | None:
        """Return a time. In a query a bare plus sign means a space, so that stands for one before a zone."""
        value = self.text(name)
        if value is None:
            return None
        text = re.sub(r" (\d\d:\d\d)$", r"+\1", value)
        try:
            if RFC3339.fullmatch(text):
                return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ApiError(400, f"{name}: a time as 2026-11-23T14:03:00Z")

    def position(self, name: str) -> int | None:
        """Return a position of the log."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) > MAX_POSITION:
            raise ApiError(400, f"{name}: a position is a whole number")
        return int(value)

    def limit(self, default: int, most: int) -> int:
        """Return how many are asked for at most."""
        value = self.text("limit")
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= most:
            raise ApiError(400, f"limit: 1 to {most}")
        return int(value)

    def word(self, name: str, *words: str) -> str | None:
        """Return one of the words."""
        value = self.text(name)
        if value is not None and value not in words:
            raise ApiError(400, f"{name}: {', '.join(words[:-1])} or {words[-1]}")
        return value


def _text(name: str, value: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ApiError(400, f"{name}: no text that an event could hold")
    return value
