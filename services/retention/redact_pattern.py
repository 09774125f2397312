"""The pattern of a redaction: a person's number or a text, its spellings, and where it counts as a whole."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import quote, quote_plus

import msgspec
from msgspec.structs import replace

from schemas.log import Rejected
from services.retention.redact_exceptions import UNCHANGED, UNCHANGED_BY_SOURCE

Kind = Literal["number", "text"]

NUMBER = re.compile(r"\+?([0-9]{3,20})")
MIN_LENGTH = 5
# An escape may come directly before it: %20 in an environment of AGI, \n or \u00e9 in JSON.
ESCAPED = rb"(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})"
BOUNDARIES = {
    "number": (rb"(?:(?<![0-9])|" + ESCAPED + rb")", rb"(?![0-9])"),
    "text": (rb"(?:(?<![0-9A-Za-z_\x80-\xff])|(?<=\\[bfnrt])|" + ESCAPED + rb")", rb"(?![0-9A-Za-z_\x80-\xff])"),
}
# Types of events and names of members are not personal data.
JSON_STRING = re.compile(rb'"type"\s*:\s*"[^"]*"|"[A-Za-z_]+"\s*:|(?P<string>"(?:[^"\\]|\\.)*")', re.DOTALL)


class RedactionPatternError(ValueError):
    """The number or text cannot be redacted; the message is one line and does not repeat it."""


class RedactionPattern:
    """One number or text. It has no readable repr, because the text must not reach any output."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind = kind
        self.text = text
        self.spellings = _spellings(text)
        before, after = BOUNDARIES[kind]
        whole = before + b"(?:" + b"|".join(map(re.escape, self.spellings)) + b")" + after
        self._whole = re.compile(whole)
        unchanged = {source: UNCHANGED + b"|" + more for source, more in UNCHANGED_BY_SOURCE.items()} | {"": UNCHANGED}
        self._by_source = {
            source: re.compile(exceptions + rb"|(?P<match>" + whole + b")") for source, exceptions in unchanged.items()
        }

    @property
    def like_patterns(self) -> list[bytes]:
        """Patterns for LIKE that match every event to redact, except those that contain it in base64."""
        return [b"%" + re.sub(rb"([%_\\])", rb"\\\1", spelling) + b"%" for spelling in self.spellings]

    def occurs_in(self, raw: bytes) -> bool:
        """Return whether it occurs, even in a place that `redact` leaves unchanged."""
        return self._whole.search(raw) is not None

    def changes(self, source: str, raw: bytes) -> bool:
        """Return whether `redact` would change bytes of this source."""
        return self.redact(source, "", raw, "") != raw

    def redact(self, source: str, name: str, raw: bytes, token: str) -> bytes:
        """Return an event's bytes with ``token`` in each place where the pattern occurs as a whole.

        In JSON only strings are searched: a JSON number is never a telephone number.
        """
        substitute = _substitution(token.encode())
        if source not in {"ari", "ringledger"} or not _is_json(raw):
            return self._by_source.get(source, self._by_source[""]).sub(substitute, raw)
        if source == "ringledger" and name == "Rejected":
            raw = self._redact_rejected(raw, token)
        return JSON_STRING.sub(lambda m: self._by_source[""].sub(substitute, m[0]) if m["string"] else m[0], raw)

    def _redact_rejected(self, raw: bytes, token: str) -> bytes:
        try:
            rejected = msgspec.json.decode(raw, type=Rejected)
        except msgspec.ValidationError:
            return raw  # Not an event that this program wrote.
        inner = self.redact(rejected.of, rejected.name, rejected.raw, token)
        return raw if inner == rejected.raw else msgspec.json.encode(replace(rejected, raw=inner))


def parse_pattern(number: str | None, text: str | None, *, force: bool) -> RedactionPattern:
    """Return the pattern of the command's options. Raises RedactionPatternError.

    ``force`` accepts patterns that may well match something else too.
    """
    if (number is None) == (text is None):
        raise RedactionPatternError("give --number or --text, one of them")
    if number is not None:
        match = NUMBER.fullmatch(number)
        if match is None or not number.isascii():
            raise RedactionPatternError("--number: must be 3 to 20 digits, with an optional + before them")
        digits = match[1]
        if len(digits) < MIN_LENGTH and not force:
            raise RedactionPatternError(
                f"--number: less than {MIN_LENGTH} digits match many other things; --force accepts them"
            )
        if len(digits) == 10 and digits[0] == "1" and not force:
            raise RedactionPatternError("--number: this may be a time in seconds; --force accepts it")
        return RedactionPattern("number", digits)
    assert text is not None
    if text != text.strip() or not text.isprintable() or len(text) > 200:
        raise RedactionPatternError("--text: must be up to 200 printable characters without outer spaces")
    if sum(map(str.isalpha, text)) < 3 or (len(text) < MIN_LENGTH and not force):
        raise RedactionPatternError(
            f"--text: must have at least {MIN_LENGTH} characters with 3 letters; --force accepts 3 characters"
        )
    return RedactionPattern("text", text)


def _spellings(text: str) -> Sequence[bytes]:
    """Return the spellings in AMI, JSON and URLs, the longest first; a number has only one."""
    texts = [
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        quote(text),
        quote(text, safe=""),
    ]
    spellings = {one.encode() for one in (*texts, quote_plus(text))}
    spellings.add(text.encode("latin-1", "ignore") if _is_latin(text) else text.encode())
    return sorted(spellings, key=len, reverse=True)


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _substitution(token: bytes) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: match[0] if match["match"] is None else token


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
