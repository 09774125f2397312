"""cospace has no envelope (seed 000): a success is the bare object, an error a status word."""

from typing import Any

import msgspec

from api.http.views import Envelope

WORDS = {
    400: "bad-parameter",
    401: "no-session",
    403: "access-denied",
    404: "empty-data",
    410: "archived",
    429: "too-many",
}


ENVELOPE = Envelope(lambda: b"", b"")


def failure(status: int, _message: str, code: str, more: dict[str, Any]) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode({"status": code or WORDS.get(status, "internal-error"), **more})
