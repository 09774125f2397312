"""How tests put an exercise to the world."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.contract import operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.exercise import Exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

ROWS = [row for row in operations() if row.startswith("jade.")]
FORMS = [(row, form) for row in ROWS for form in operations()[row].paths]


def form_id(value: str) -> str:
    """Name a test's row and form."""
    return value


@asynccontextmanager
async def put_to(world: World, exercise: Exercise) -> AsyncIterator[tuple[Ask, Callable[[Reply], Awaitable[None]]]]:
    """Make what the exercise needs; give its request, and what to call with the answer."""
    going = exercise.run(world)
    ask = await anext(going)

    async def finished(reply: Reply) -> None:
        world.patient = False  # what was answered is seen at once
        try:
            await going.asend(reply)
        except StopAsyncIteration:
            return
        finally:
            world.patient = True
        raise AssertionError("an exercise has one request")

    try:
        yield ask, finished
    finally:
        await going.aclose()


async def request_of(world: World, row: str) -> Ask:
    """Return the request of an exercise that was made once for all tests that are refused, and so change nothing."""
    if row not in world.made:
        going = EXERCISES[row].run(world)
        world.made[row] = going, await anext(going)
    return world.made[row][1]


async def answered(world: World, row: str, form: str, **body: object) -> Reply:
    """Send the valid request with other members of the body, and assert its effect."""
    async with put_to(world, EXERCISES[row]) as (ask, finished):
        if body:
            ask.body |= body
        reply = await world.send(operations()[row].method, form, ask)
        assert reply.status == 200, f"{row} at {form}: {reply.body}"
        await finished(reply)
    return reply
