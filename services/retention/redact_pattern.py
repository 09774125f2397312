"""What is to be redacted: a person's number or a text, how it is written, and where it stands as a whole."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import quote, quote_plus

import msgspec
from msgspec.structs import replace

from projections import ALL
from schemas.ami import AmiEvent, OwnEvent
from schemas.log import Rejected
from services.retention.redact_key import TOKEN

Kind = Literal["number", "text"]

NUMBER = re.compile(r"\+?([0-9]{3,20})")
SHORT = 5
# What stands before it may be the end of an escape: %20 in an environment of AGI, \n or \u00e9 in JSON.
ESCAPED = rb"(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})"
WHOLE = {
    "number": (rb"(?:(?<![0-9])|" + ESCAPED + rb")", rb"(?![0-9])"),
    "text": (rb"(?:(?<![0-9A-Za-z_\x80-\xff])|(?<=\\[bfnrt])|" + ESCAPED + rb")", rb"(?![0-9A-Za-z_\x80-\xff])"),
}
STRING = re.compile(
    rb'"type"\s*:\s*"[^"]*"|"[A-Za-z_]+"\s*:|(?P<string>"(?:[^"\\]|\\.)*")', re.DOTALL
)  # what an event is, and the names of members, stand in no person's file


def _numbers() -> list[bytes]:
    """Name the headers of AMI that shapes read as numbers: a count, a time, a port there is no telephone's number."""
    shapes = {on.shape for model in ALL for on in model.on.values()}
    return sorted(
        {
            f.encode_name.encode()
            for shape in shapes
            if issubclass(shape, AmiEvent) and not issubclass(shape, OwnEvent)
            for f in msgspec.structs.fields(shape)
            if not f.encode_name.startswith("_") and _is_number(f.type)
        }
    )


def _is_number(annotation: object) -> bool:
    found = msgspec.inspect.type_info(annotation)
    kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    return any(isinstance(k, msgspec.inspect.IntType | msgspec.inspect.FloatType) for k in kinds)


KEPT = b"|".join(
    [
        TOKEN,
        rb"(?<![0-9])[12][0-9]{9}\.[0-9]+",  # a unique id, a Timestamp
        rb"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:\.[0-9]+)?(?:[+-][0-9]{2}:?[0-9]{2}(?![0-9]))?",
        rb"(?<![0-9])0\.[0-9]+",  # a fraction, as in RTCPReceived
        rb"\b0x[0-9A-Fa-f]+",
        rb"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b",  # a bridge's id, a user's
        rb"\b[0-9a-f]{64}\b",  # a hash of ours
        rb"\$argon2[a-z]*\$[^\"]*",
        rb"\bringledger/[0-9]+/",  # an ActionID of ours
    ]
)
"""What holds digits that are nobody's number."""
OF_SOURCE = {
    # What an event is, what is a number but none of a telephone, and the names of headers.
    "ami": rb"(?:\A|\r\n)(?:Event:[^\r\n]*|(?:"
    + b"|".join(_numbers())
    + rb"):[^\r\n]*|[A-Za-z_-]+[0-9]{0,2}[A-Za-z]*:)",
    "cdr_csv": rb",[0-9]+,[0-9]+,\"(?:ANSWERED|NO ANSWER|BUSY|FAILED|CONGESTION)\"",  # how long it was
    "queue_log": rb"\A[0-9]{10}\|",  # when it was
}


class WantedError(ValueError):
    """It cannot be redacted; the message is one line and does not repeat it."""


class Wanted:
    """One number or text. It has no readable repr, for what it holds must not reach any output."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind = kind
        self.text = text
        self.spellings = _spellings(text)
        before, after = WHOLE[kind]
        whole = before + b"(?:" + b"|".join(map(re.escape, self.spellings)) + b")" + after
        self._whole = re.compile(whole)
        kept = {source: KEPT + b"|" + more for source, more in OF_SOURCE.items()} | {"": KEPT}
        self._in = {source: re.compile(k + rb"|(?P<found>" + whole + b")") for source, k in kept.items()}

    @property
    def patterns(self) -> list[bytes]:
        """What LIKE must be asked for, so that nothing is missed but what base64 hides."""
        return [b"%" + re.sub(rb"([%_\\])", rb"\\\1", s) + b"%" for s in self.spellings]

    def stands_in(self, raw: bytes) -> bool:
        """Tell whether it stands there, if only as a part of what is kept."""
        return self._whole.search(raw) is not None

    def is_in(self, source: str, raw: bytes) -> bool:
        """Tell whether `rewritten` would change bytes of this source."""
        return self.rewritten(source, "", raw, "") != raw

    def rewritten(self, source: str, name: str, raw: bytes, token: str) -> bytes:
        """Return an event's bytes with ``token`` wherever it stood as a whole, and all else as it was.

        In JSON it is looked for in strings only: what is a number there is none of a telephone.
        """
        put = _putting(token.encode())
        if source not in {"ari", "ringledger"} or not _is_json(raw):
            return self._in.get(source, self._in[""]).sub(put, raw)
        if source == "ringledger" and name == "Rejected":
            raw = self._rejected(raw, token)
        return STRING.sub(lambda m: self._in[""].sub(put, m[0]) if m["string"] else m[0], raw)

    def _rejected(self, raw: bytes, token: str) -> bytes:
        try:
            rejected = msgspec.json.decode(raw, type=Rejected)
        except msgspec.ValidationError:
            return raw  # not as we write them
        inner = self.rewritten(rejected.of, rejected.name, rejected.raw, token)
        return raw if inner == rejected.raw else msgspec.json.encode(replace(rejected, raw=inner))


def wanted(number: str | None, text: str | None, *, force: bool) -> Wanted:
    """Check what was given. Raises WantedError; ``force`` lets pass what may well mean something else too."""
    if (number is None) == (text is None):
        raise WantedError("redact what? --number or --text, one of them")
    if number is not None:
        found = NUMBER.fullmatch(number)
        if found is None or not number.isascii():
            raise WantedError("--number: 3 to 20 digits and nothing else but a + before them")
        digits = found[1]
        if len(digits) < SHORT and not force:
            raise WantedError(f"--number: less than {SHORT} digits may be anything; --force takes them all the same")
        if len(digits) == 10 and digits[0] == "1" and not force:
            raise WantedError("--number: this may be a time in seconds; --force takes it all the same")
        return Wanted("number", digits)
    assert text is not None
    if text != text.strip() or not text.isprintable() or len(text) > 200:
        raise WantedError("--text: up to 200 printable characters, no space before or after")
    if sum(map(str.isalpha, text)) < 3 or (len(text) < SHORT and not force):
        raise WantedError(f"--text: {SHORT} characters with 3 letters at least; --force takes 3")
    return Wanted("text", text)


def _spellings(text: str) -> Sequence[bytes]:
    """Return how AMI, JSON and URLs write it, the longest first; a number is the same in all of them."""
    ways = [text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text), quote(text, safe="")]
    every = {way.encode() for way in (*ways, quote_plus(text))}
    every.add(text.encode("latin-1", "ignore") if _is_latin(text) else text.encode())
    return sorted(every, key=len, reverse=True)


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _putting(token: bytes) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: match[0] if match["found"] is None else token


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
