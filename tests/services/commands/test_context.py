"""The request as a value: it stamps facts, and a decision checks its caller again."""

from typing import Any

import pytest

from schemas.users import UserDeleted
from services.accounts.accounts import Account, Accounts, LoginToken, token_hash
from services.commands.context import RequestContext
from services.runtime.clock import CLOCK
from services.runtime.errors import Forbidden, Unauthenticated


def request(**members: Any) -> RequestContext:
    values = {
        "actor": "ann",
        "dialect": "jade",
        "request_id": "r-1",
        "key": "",
        "digest": "",
        "token_hash": token_hash("secret"),
        "permission": "manager",
    }
    return RequestContext(**(values | members))


def accounts(*permissions: str) -> Accounts:
    made = Accounts()
    ann = Account("ann", "ann", "Ann", "", "user", frozenset(permissions))
    made._tokens[token_hash("secret")] = LoginToken(ann, CLOCK.now(), CLOCK.monotonic())
    return made


def test_a_fact_gets_actor_dialect_and_request_id() -> None:
    assert request().stamp(UserDeleted("bob")) == UserDeleted("bob", actor="ann", dialect="jade", request="r-1")


def test_a_caller_with_the_permission_passes() -> None:
    assert request().recheck(accounts("manager")).uuid == "ann"


def test_a_caller_without_the_permission_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        request().recheck(accounts("user"))


def test_a_caller_whose_token_ended_is_unauthenticated() -> None:
    with pytest.raises(Unauthenticated):
        request().recheck(Accounts())


def test_no_member_of_a_request_has_a_default() -> None:
    """A dialect that leaves one out must not write another dialect's name into the log."""
    assert not RequestContext.__struct_defaults__
