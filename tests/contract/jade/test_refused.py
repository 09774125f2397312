"""Every row refuses missing and wrong tokens, other methods and other details, in the envelope, without a change."""

import uuid
from collections import defaultdict

import pytest

from tests.contract import operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import FORMS, ROWS, request_of
from tests.contract.jade.wire import Ask
from tests.contract.jade.world import World

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
OPEN = {"jade.admin.login.create"}
"""Rows that ask for no token."""

BEYOND = {
    "/admin/queue/entries/{detail}": {"DELETE"},
    "/admin/queue/members": {"POST"},
    "/admin/queue/members/{detail}": {"PUT", "DELETE"},
}
"""Methods without a row, by path without /v1: the original has them."""


@pytest.mark.parametrize("row", ROWS)
async def test_a_request_without_token_is_refused(world: World, row: str) -> None:
    ask = await request_of(world, row)
    for form in operations()[row].paths:
        for token in ("", str(uuid.uuid4())):
            async with world.unchanged():
                reply = await world.send(operations()[row].method, form, Ask(ask.detail, ask.query, ask.body, token))
            assert reply.status == 401, form
            assert "WWW-Authenticate" in reply.headers


@pytest.mark.parametrize("row", [row for row in ROWS if row not in OPEN])
async def test_a_user_without_the_permission_is_refused(world: World, row: str) -> None:
    ask, permission = await request_of(world, row), EXERCISES[row].permission
    lacking = {"admin": ("manager", "user"), "manager": ("user",), "user": ("jeye",)}[permission]
    person = await world.person(*lacking)
    for form in operations()[row].paths:
        async with world.unchanged():
            refused = Ask(ask.detail, ask.query, ask.body, person.token)
            reply = await world.send(operations()[row].method, form, refused)
        assert reply.status == 403, form


def paths() -> dict[str, set[str]]:
    """Return the methods of every path."""
    methods: dict[str, set[str]] = defaultdict(set)
    for row, form in FORMS:
        methods[form].add(operations()[row].method)
    return methods


@pytest.mark.parametrize("path", paths())
async def test_an_undocumented_method_is_405_with_allow(world: World, path: str) -> None:
    allowed = paths()[path] | BEYOND.get(path.removeprefix("/v1"), set())
    for method in METHODS:
        if method not in allowed:
            async with world.unchanged():
                reply = await world.send(method, path, Ask("x", token=world.admin.token, body={}))
            assert reply.status == 405, method
            assert set(reply.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


DETAILS = [row for row in ROWS if "{detail}" in operations()[row].paths[0]]
UNKNOWN = ("no such", "Zoë 😀", str(uuid.UUID(int=1)))
HOSTILE = (
    "a%2Fb",
    "a%3Bb",
    "a%40b",
    "a%00b",
    "a%0D%0AAction:%20Reboot%0D%0A",
    "%0A",
    "%FF",
    "%C3%28",
    "%ED%A0%80",
    "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
    "..%5C..",
    "%27%20OR%20true--",
    "%25%32%46",
    "a" * 5000,
)
"""Details as the path has them."""


@pytest.mark.parametrize("row", DETAILS)
async def test_an_unknown_detail_is_404(world: World, row: str) -> None:
    ask, exercise, operation = await request_of(world, row), EXERCISES[row], operations()[row]
    for form in operation.paths:
        for detail in UNKNOWN:
            async with world.unchanged(exercise.tells):
                reply = await world.send(operation.method, form, Ask(detail, ask.query, ask.body, ask.token))
            assert reply.status in exercise.unknown, f"{detail}: {reply.body}"


@pytest.mark.parametrize("row", DETAILS)
async def test_an_invalid_detail_never_reaches_the_pbx(world: World, row: str) -> None:
    ask, exercise, operation = await request_of(world, row), EXERCISES[row], operations()[row]
    for detail in HOSTILE:
        path = operation.paths[0].replace("{detail}", detail)
        async with world.unchanged("log" if exercise.tells == "log" else "nothing"):
            reply = await world.send(operation.method, path, Ask("", ask.query, ask.body, ask.token))
        assert reply.status in {400, 404}, f"{detail}: {reply.body}"


@pytest.mark.parametrize("row", DETAILS)
async def test_a_path_below_a_detail_is_404(world: World, row: str) -> None:
    """A proxy may have decoded %2F in it."""
    ask, exercise, operation = await request_of(world, row), EXERCISES[row], operations()[row]
    for form in operation.paths:
        if not form.endswith("/messages"):
            path = form.replace("{detail}", "x") + "/more"
            async with world.unchanged(exercise.tells):
                reply = await world.send(operation.method, path, Ask("", ask.query, ask.body, ask.token))
            assert reply.status in {404, *exercise.unknown}, f"{path}: {reply.body}"
