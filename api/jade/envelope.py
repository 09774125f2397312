"""jade's envelope around every response (``$defhdr`` in seed 001, members from its examples)."""

import time
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from api.http.errors import Problem, json_failure
from api.http.views.rendering import JSON, Renderer
from services.log.times import rfc3339

OPENING = b'{"api_ver":"0.1","statuscode":200,"timestamp":"%b"'


def timestamp(now: datetime) -> str:
    """Return a time as the envelope writes it."""
    return rfc3339(now, "microseconds")


def wrap(now: datetime) -> tuple[bytes, bytes]:
    """Return what precedes and what follows a result."""
    return OPENING % timestamp(now).encode() + b',"result":', b"}"


RENDERER = Renderer("jade", JSON, msgspec.json.encode, wrap)


def success(result: bytes | None = None) -> bytes:
    """Return the envelope around an encoded result. Without a result it is the response to a write."""
    if result is None:
        return OPENING % timestamp(_now()).encode() + b"}"
    opening, closing = wrap(_now())
    return opening + result + closing


def failure(problem: Problem) -> web.Response:
    """Return a refusal: the envelope without a result."""
    text = {"message": problem.message} if problem.message else {}
    head = {"api_ver": "0.1", "statuscode": problem.status, "timestamp": timestamp(_now())}
    return json_failure(problem, {**head, **text, **problem.more})


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
