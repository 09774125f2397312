"""cospace has no envelope (seed 000): a success is the bare object, an error a status word."""

import msgspec

WORDS = {400: "bad-parameter", 401: "no-session", 403: "access-denied", 404: "empty-data", 429: "too-many"}


def success(result: bytes) -> bytes:
    """Return the body as it is."""
    return result


def failure(status: int, _message: str, code: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode({"status": code or WORDS.get(status, "internal-error")})
