"""Bodies that are none, and members that are none: 400 in the envelope, and nothing has changed."""

from typing import Any

import msgspec
import pytest

from tests.contract import operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import ROWS, answered, put_to, request_of
from tests.contract.jade.exercise import Exercise, Kind
from tests.contract.jade.wire import Ask
from tests.contract.jade.world import World

BODIES = [row for row in ROWS if EXERCISES[row].members]
NONE = (
    b"",
    b" ",
    b"no JSON",
    b"{",
    b'{"a": 1,}',
    b"{'name': 'x'}",
    b"[]",
    b'["a"]',
    b'"text"',
    b"7",
    b"null",
    b"true",
    b'{"name": "\xff"}',
    b'{"name": "\\ud800"}',
    b"name=x&detail=y",
    b"[" * 100_000,
    b'{"name": ' + b"[" * 100_000,
)
WRONG: dict[Kind, tuple[Any, ...]] = {
    "name": (7, 1.5, True, [], ["a"], {}, {"a": 1}),
    "option": (7, 1.5, True, [7], [[]], {}, {"a": 1}),
    "text": (7, 1.5, True, [], ["a"], {}, {"a": 1}),
    "key": (7, 1.5, True, [], ["a"], {}, {"a": 1}),
    "uuid": (7, True, [], {}, "", "no uuid", "1d47735d-2265-463c-908a-d37dea085c2", "🎉"),
    "number": ("1", True, [], {}, 1.5, 10**30),
    "list": (7, True, "a", {}, [7], [None], [[]]),
    "map": (7, True, "a", [], {"a": 7}, {"a": None}, {"a": {}}),
}
MIXED = "Zoë e\u0301 שלום العربية 漢字 😀 👩‍👩‍👧 \u202e end"
"""Emoji, combining letters, writing from right to left, and what turns it."""


async def refused(world: World, row: str, ask: Ask, raw: bytes, what: str) -> None:
    """Assert that this body is refused. A key that is looked up may be unknown instead."""
    operation = operations()[row]
    expected = {400, 404} if operation.method == "GET" else {400}
    async with world.unchanged():
        reply = await world.send(operation.method, operation.paths[0], ask, raw)
    assert reply.status in expected, f"{what}: {reply.status} {reply.body}"
    assert reply.body["message"]


def with_member(ask: Ask, name: str, value: Any) -> bytes:
    return msgspec.json.encode({**ask.body, name: value})


@pytest.mark.parametrize("row", BODIES)
async def test_a_body_that_is_no_object_is_400(world: World, row: str) -> None:
    for raw in NONE:
        await refused(world, row, await request_of(world, row), raw, repr(raw[:20]))


@pytest.mark.parametrize("row", BODIES)
async def test_an_invalid_member_is_400(world: World, row: str) -> None:
    ask = await request_of(world, row)
    for name, member in EXERCISES[row].members.items():
        if member.needed:
            less = {other: value for other, value in ask.body.items() if other != name}
            await refused(world, row, ask, msgspec.json.encode(less), f"without {name}")
            await refused(world, row, ask, with_member(ask, name, None), f"{name} null")
        for value in WRONG[member.kind]:
            await refused(world, row, ask, with_member(ask, name, value), f"{name} = {value!r}")


@pytest.mark.parametrize("row", BODIES)
async def test_a_long_text_or_nul_is_400(world: World, row: str) -> None:
    ask, exercise = await request_of(world, row), EXERCISES[row]
    for name in texts(exercise):
        await refused(world, row, ask, with_member(ask, name, "a\0b"), f"{name} with NUL")
        if exercise.members[name].kind != "text":
            await refused(world, row, ask, with_member(ask, name, "a" * 10_000), f"{name} too long")


def texts(exercise: Exercise, *, free: bool = False) -> list[str]:
    """Return the members that are texts; ``free``: those in which any text is legal."""
    kinds = ("name", "text", "key", "option")
    return [name for name, member in exercise.members.items() if member.kind in kinds and (member.free or not free)]


@pytest.mark.parametrize("row", [row for row in BODIES if texts(EXERCISES[row], free=True)])
async def test_text_of_any_language_is_returned_unchanged(world: World, row: str) -> None:
    exercise = EXERCISES[row]
    body = {name: f"{MIXED} {world.name()}" for name in texts(exercise, free=True)}
    await answered(world, row, operations()[row].paths[-1], **body)


@pytest.mark.parametrize("row", [row for row in BODIES if not EXERCISES[row].open_body])
async def test_members_that_are_not_documented_are_passed_over(world: World, row: str) -> None:
    async with put_to(world, EXERCISES[row]) as (ask, finished):
        raw = msgspec.json.encode({**ask.body, "no_such_member": {"deep": [1, "\u2028"]}})
        reply = await world.send(operations()[row].method, operations()[row].paths[0], ask, raw)
        assert reply.status == 200
        await finished(reply)


async def test_a_body_that_is_too_large_is_413(world: World) -> None:
    for row in BODIES:
        if operations()[row].method != "GET":
            ask = await request_of(world, row)
            async with world.unchanged():
                raw = msgspec.json.encode({**ask.body, "more": "a" * (2 << 20)})
                reply = await world.send(operations()[row].method, operations()[row].paths[0], ask, raw)
            assert reply.status == 413, row
