"""Steps of scenes with queues: members who come for one scene, who answer, and who talk."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from schemas.calls import Call
from tests.e2e.calls.scene import Scene
from tests.e2e.phone import Call as Line
from tests.e2e.stories import wait_agent_state
from tests.support.polling import present

NAMES = {"101": "Bob Baker", "102": "Carol Chu", "104": "Erin Eng"}


@asynccontextmanager
async def members(scene: Scene, queue: str, *interfaces: str) -> AsyncIterator[None]:
    """Add members to a queue, with their phones registered, and remove them at the end."""
    act = scene.asterisk.ami.act
    for interface in interfaces:
        user = interface.partition("/")[2].partition("@")[0]
        await scene.phone(user)
        facts = {"MemberName": NAMES[user], "StateInterface": f"PJSIP/{user}"}
        await act("QueueAdd", Queue=queue, Interface=interface, **facts)
    try:
        yield
    finally:
        for interface in interfaces:
            await act("QueueRemove", Queue=queue, Interface=interface)


async def answer(scene: Scene, user: str) -> Line:
    """Answer the next ring of a phone, and return its end of the call."""
    ringing = await (await scene.phone(user)).rung()
    ringing.answer()
    return ringing


async def until(scene: Scene, condition: Callable[[list[Call]], bool], description: str) -> list[Call]:
    """Wait until the calls of the scene meet a condition, and return them."""

    async def met() -> list[Call] | None:
        calls = await scene.calls()
        return calls if condition(calls) else None

    return await present(met, description)


async def in_state(scene: Scene, state: str) -> Call:
    """Wait until the youngest call of the scene has a state, and return the call."""
    calls = await until(scene, lambda calls: bool(calls) and calls[-1].state == state, f"the last call is {state}")
    return calls[-1]


async def log_in(scene: Scene, user: str, agent: str) -> Line:
    """Let a phone log an agent in, without a greeting; return its end of the session."""
    session = await (await scene.phone(user)).call(f"22{agent}").up()
    await wait_agent_state(scene.asterisk, agent, "NOT_INUSE")
    return session


async def log_out(scene: Scene, session: Line, agent: str) -> None:
    """Let an agent hang his session up."""
    await session.hang_up()
    await wait_agent_state(scene.asterisk, agent, "UNAVAILABLE")
