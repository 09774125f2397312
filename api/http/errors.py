"""Refusals as HTTP: the status, the dialect's word and the headers of each."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from services.runtime.errors import (
    ActFailure,
    CommandError,
    Conflict,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    NotReady,
    OutcomeUnknown,
    TooMany,
    Unauthenticated,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS: dict[type[CommandError], tuple[int, str]] = {
    NotFound: (404, ""),
    Conflict: (409, ""),
    KeyReused: (422, ""),
    Invalid: (400, ""),
    Forbidden: (403, "access-denied"),
    Unauthenticated: (401, ""),
    TooMany: (429, "too-many"),
    NotReady: (503, "not-ready"),
    OutcomeUnknown: (504, "no-outcome"),
}
"""The status and the code of each refusal; an empty code leaves the word to the dialect."""

ACT_STATUS = {
    "refused": 502,
    "absent": 404,
    "conflict": 409,
    "invalid": 400,
    "unreachable": 503,
    "expired": 504,
    "impossible": 501,
}
"""The status of a failed act, by its reason."""

CHALLENGES = {"basic": 'Basic realm="ringledger"', "bearer": "Bearer"}


class Problem(Struct, frozen=True):
    """A refusal as a dialect renders it: HTTP status, text for people, the word of the dialect if it has one.

    ``more`` are further members of the body.
    """

    status: int
    message: str = ""
    code: str = ""
    headers: Mapping[str, str] = {}
    more: Mapping[str, Any] = {}


class ApiError(Exception):
    """A refusal by the HTTP layer; the arguments are those of `Problem`. Use cases raise `CommandError` instead."""

    def __init__(
        self,
        status: int,
        message: str = "",
        code: str = "",
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.more = more or {}

    @property
    def problem(self) -> Problem:
        """The refusal as a value."""
        return Problem(self.status, self.message, self.code, self.headers, self.more)


def json_failure(problem: Problem, body: Mapping[str, Any]) -> web.Response:
    """Return a refusal whose body is JSON."""
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(body),
        headers={"Cache-Control": "no-store", **problem.headers},
        content_type="application/json",
        charset="utf-8",
    )


def problem_of(error: CommandError) -> Problem:
    """Return a refusal of a use case with its HTTP status and headers."""
    headers = {}
    if isinstance(error, TooMany | NotReady):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthenticated) and error.scheme:
        headers["WWW-Authenticate"] = CHALLENGES[error.scheme]
    if error.position is not None:
        headers["X-Ledger-Position"] = str(error.position)
    if error.request_id:
        headers["X-Request-Id"] = error.request_id
    if error.location:
        headers["Location"] = error.location
    status, code = (ACT_STATUS[error.reason], error.reason) if isinstance(error, ActFailure) else STATUS[type(error)]
    return Problem(status, error.message, code, headers, error.details)
