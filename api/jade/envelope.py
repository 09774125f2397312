"""jade's envelope around every answer (``$defhdr`` in seed 001, members from its examples)."""

import time
from datetime import UTC, datetime

import msgspec

HEAD = b'{"api_ver":"0.1","result":'
FOOT = b',"statuscode":200,"timestamp":"%b"}'
BARE = b'{"api_ver":"0.1","statuscode":200,"timestamp":"%b"}'


def timestamp() -> bytes:
    """Return the time as the envelope tells it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def success(result: bytes | None = None) -> bytes:
    """Put the envelope around a result that is JSON already; without one it is the answer to a write."""
    return BARE % timestamp() if result is None else b"".join((HEAD, result, FOOT % timestamp()))


def failure(status: int, message: str, _code: str) -> bytes:
    """Return the body of an error."""
    text = {"message": message} if message else {}
    return msgspec.json.encode({"api_ver": "0.1", "statuscode": status, "timestamp": timestamp().decode(), **text})
