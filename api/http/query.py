"""Query parameters, typed and checked. Unknown ones are refused where a misspelt filter would return too much."""

import re
from datetime import UTC, datetime

from aiohttp import web

from api.http.errors import ApiError
from schemas.text import is_storable
from services.log.times import parse_rfc3339

MAX_BIGINT = (1 << 63) - 1
MAX_EPOCH_SECONDS = 1 << 33
"""The year 2242: a later time is a mistake."""
REPEATABLE = frozenset({"name", "topic"})
"""Parameters that a request may repeat, where the handler reads all of their values."""
LONG_FRACTION = re.compile(r"\.[0-9]{10}")
"""A fraction of a second finer than nanoseconds: a mistake too."""


class QueryParams:
    """The query of a request.

    With ``names``, all other parameters and repeated ones are refused, except ``authtoken``. Without them, others are
    ignored and of repeated ones the first counts, as the documented dialects do.

    All methods raise ApiError 400, and return None for an absent parameter.
    """

    def __init__(self, request: web.Request, *names: str, is_strict: bool = True) -> None:
        self._query = request.query
        self._is_strict = is_strict
        for name in self._query if is_strict else ():
            if name == "authtoken":
                continue
            if name not in names:
                raise ApiError(400, f"{name}: unknown parameter; the parameters are {', '.join(names) or 'none'}")
            if len(self._query.getall(name)) > 1 and name not in REPEATABLE:
                raise ApiError(400, f"{name}: only one value is allowed")

    def texts(self, name: str) -> list[str] | None:
        """Return a parameter that may be repeated."""
        values = [_storable(name, value) for value in self._query.getall(name, [])]
        return values or None

    def text(self, name: str) -> str | None:
        """Return a parameter that may come once."""
        values = self.texts(name)
        if values and len(values) > 1 and self._is_strict:
            raise ApiError(400, f"{name}: only one value is allowed")
        return values[0] if values else None

    def utf8(self, name: str) -> bytes | None:
        """Return the UTF-8 of a text to search for; every event holds the empty one, so it is refused."""
        value = self.text(name)
        if value == "":
            raise ApiError(400, f"{name}: is empty")
        return None if value is None else value.encode()

    def time(self, name: str) -> datetime | None:
        """Return a time in RFC 3339, of at most nine decimals."""
        value = self.text(name)
        if value is None:
            return None
        try:
            if not LONG_FRACTION.search(value):
                return parse_rfc3339(value)
        except ValueError:
            pass
        raise ApiError(400, f"{name}: a time as 2026-11-23T14:03:00Z")

    def epoch_seconds(self, name: str) -> datetime | None:
        """Return a time in seconds since the epoch."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,11}", value) or int(value) > MAX_EPOCH_SECONDS:
            raise ApiError(400, f"{name}: seconds since the epoch")
        return datetime.fromtimestamp(int(value), UTC)

    def position(self, name: str) -> int | None:
        """Return a position of the log."""
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) > MAX_BIGINT:
            raise ApiError(400, f"{name}: a position is a whole number")
        return int(value)

    def number(self, name: str, default: int, most: int, digits: int = 9) -> int:
        """Return a number of items from 1 to ``most``, written with at most ``digits`` digits."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]+", value) or len(value) > digits or not 1 <= int(value) <= most:
            raise ApiError(400, f"{name}: 1 to {most}")
        return int(value)

    def whole(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to ``most``."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > most:
            raise ApiError(400, f"{name}: 0 to {most}")
        return int(value)

    def word(self, name: str, *words: str) -> str | None:
        """Return one of the words."""
        value = self.text(name)
        if value is not None and value not in words:
            raise ApiError(400, f"{name}: {', '.join(words[:-1])} or {words[-1]}")
        return value


def _storable(name: str, value: str) -> str:
    if not is_storable(value):
        raise ApiError(400, f"{name}: no event holds such a text")
    return value
