"""jade's envelope around every answer (``$defhdr`` in seed 001, members from its examples)."""

import time
from datetime import UTC, datetime

from aiohttp import web

from api.http.errors import Problem, json_failure
from api.http.views import Envelope

OPENING = b'{"api_ver":"0.1","statuscode":200,"timestamp":"%b"'


def timestamp() -> bytes:
    """Return the present time in the envelope's form."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def opening() -> bytes:
    """Return the bytes before a result."""
    return OPENING % timestamp() + b',"result":'


ENVELOPE = Envelope(opening, b"}")


def success(result: bytes | None = None) -> bytes:
    """Return the envelope around a result in JSON; the response to a write has none."""
    return OPENING % timestamp() + (b"}" if result is None else b',"result":' + result + b"}")


def failure(problem: Problem) -> web.Response:
    """Return a refusal: the envelope without a result."""
    text = {"message": problem.message} if problem.message else {}
    head = {"api_ver": "0.1", "statuscode": problem.status, "timestamp": timestamp().decode()}
    return json_failure(problem, {**head, **text, **problem.more})
