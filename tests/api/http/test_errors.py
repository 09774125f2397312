"""Errors of use cases as HTTP: a status for each, and headers from its members."""

from typing import get_args

import pytest

from api.http.errors import ACT_STATUS, STATUS, problem_of
from schemas.acts import Reason
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


def subclasses(base: type[CommandError]) -> set[type[CommandError]]:
    direct = set(base.__subclasses__())
    return direct.union(*(subclasses(one) for one in direct))


def test_each_command_error_has_a_status() -> None:
    assert set(STATUS) | {ActFailure} == subclasses(CommandError)
    assert set(ACT_STATUS) == set(get_args(Reason))


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (NotFound("x"), 404, {}),
        (Conflict("x", location="/v1/me/chats/1"), 409, {"Location": "/v1/me/chats/1"}),
        (KeyReused("x"), 422, {}),
        (Invalid("x"), 400, {}),
        (Forbidden("x"), 403, {}),
        (Unauthenticated("x"), 401, {}),
        (Unauthenticated("x", scheme="bearer"), 401, {"WWW-Authenticate": "Bearer"}),
        (Unauthenticated("x", scheme="basic"), 401, {"WWW-Authenticate": 'Basic realm="ringledger"'}),
        (TooMany(0.2), 429, {"Retry-After": "1"}),
        (TooMany(2.1), 429, {"Retry-After": "3"}),
        (NotReady("x", position=7), 503, {"Retry-After": "1", "X-Ledger-Position": "7"}),
        (OutcomeUnknown("x", position=7, request_id="r"), 504, {"X-Ledger-Position": "7", "X-Request-Id": "r"}),
        (ActFailure("x", "refused", position=7), 502, {"X-Ledger-Position": "7"}),
    ],
)
def test_an_error_has_status_and_headers(error: CommandError, status: int, headers: dict[str, str]) -> None:
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers)) == (status, headers)


def test_error_details_are_members_of_the_body() -> None:
    assert dict(problem_of(OutcomeUnknown("x", details={"position": 7})).more) == {"position": 7}
