"""jade's envelope around every answer (``$defhdr`` in seed 001, members from its examples)."""

import time
from datetime import UTC, datetime

from aiohttp import web

from api.http.errors import Problem, json_failure
from api.http.views import Envelope

OPENING = b'{"api_ver":"0.1","statuscode":200,"timestamp":"%b"'


def timestamp() -> bytes:
    """Return the time as the envelope tells it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def opening() -> bytes:
    """Return what stands before a result."""
    return OPENING % timestamp() + b',"result":'


ENVELOPE = Envelope(opening, b"}")


def success(result: bytes | None = None) -> bytes:
    """Put the envelope around a result that is JSON already; without one it is the answer to a write."""
    return OPENING % timestamp() + (b"}" if result is None else b',"result":' + result + b"}")


def failure(problem: Problem) -> web.Response:
    """Return a refusal: the envelope without a result."""
    text = {"message": problem.message} if problem.message else {}
    head = {"api_ver": "0.1", "statuscode": problem.status, "timestamp": timestamp().decode()}
    return json_failure(problem, {**head, **text, **problem.more})
