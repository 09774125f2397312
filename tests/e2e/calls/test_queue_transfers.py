"""Transfers into a queue and out of one: the agent's talk ends when he hands the caller on."""

import pytest

from schemas.calls import Call
from tests.e2e.calls.queue_steps import answer, in_state, members
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story
from tests.e2e.phone import Call as Line

MEMBERS = ("PJSIP/101", "Local/101@members", "Local/101@members/n")
SERVED = "care: 105 answered by Bob Baker, ended by "


async def served(scene: Scene) -> tuple[Line, Line]:
    """Let the member 101 serve the caller 105; return both ends."""
    caller = await (await scene.phone("105")).call("240").up()
    member = await answer(scene, "101")
    await scene.wait_talk("105", "101")
    return caller, member


@pytest.mark.parametrize("interface", MEMBERS)
@pytest.mark.parametrize("means", ["refer", "keys"])
async def test_an_agent_transfers_blindly(scene: Scene, interface: str, means: str) -> None:
    async with members(scene, "care", interface):
        caller, member = await served(scene)
        carol = await scene.phone("102")
        if means == "refer":
            assert await member.refer("102") == 202
        else:
            await member.press("#1102")
        third = await carol.rung()
        third.answer()
        await scene.wait_talk("105", "102")
        await member.hang_up()
        await third.hang_up()
        await caller.over()
        story = handed_on("callee 102", "blind by 101: 105 to 102 (102) answered", means)
        story.rings = ["105 > 101 answered in care", "105 > 102 answered"]
        story.talks = ["105 101", "105 102"]
        assert await scene.story() == story
        assert_talk_of_agent((await scene.ended())[0])


@pytest.mark.parametrize("interface", MEMBERS)
async def test_an_agent_transfers_by_a_second_call(scene: Scene, interface: str) -> None:
    async with members(scene, "care", interface):
        caller, member = await served(scene)
        carol = await scene.phone("102")
        await member.hold()
        second = (await scene.phone("101")).call("102")
        third = await carol.rung()
        third.answer()
        await second.up()
        await scene.wait_talk("101", "102")
        assert await member.refer("102", replaces=second) == 202
        await second.over()
        await scene.wait_talk("105", "102")
        await member.hang_up()
        await third.hang_up()
        await caller.over()
        story = handed_on("callee 102", "attended by 101: 105 to 102 (102) answered", "refer")
        story.rings = ["105 > 101 answered in care", "101' > 102 answered"]
        story.talks = ["105 101", "101' 102", "105 102"]
        story.callees, story.holds = ["101'", "102"], ["101"]
        assert await scene.story() == story
        assert_talk_of_agent((await scene.ended())[0])


@pytest.mark.parametrize("interface", MEMBERS)
async def test_an_agent_asks_before_he_transfers(scene: Scene, interface: str) -> None:
    async with members(scene, "care", interface):
        caller, member = await served(scene)
        carol = await scene.phone("102")
        await member.press("*2102")
        third = await carol.rung()
        third.answer()
        await scene.wait_talk("101", "102")
        await member.hang_up()
        await scene.wait_talk("105", "102")
        await third.hang_up()
        await caller.over()
        story = handed_on("callee 102", "attended by 101: 105 to 102 (102) answered", "keys")
        story.rings = ["105 > 101 answered in care", "101 > 102 answered"]
        story.talks = ["105 101", "101 102", "105 102"]
        assert await scene.story() == story
        assert_talk_of_agent((await scene.ended())[0])


async def test_a_blind_transfer_into_a_queue(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller, transferring = await scene.connect("105", "106")
        assert await transferring.refer("240") == 202
        member = await answer(scene, "101")
        await transferring.hang_up()
        await scene.wait_talk("105", "101")
        await caller.hang_up()
        await member.over()
        story = queued("caller 105", "blind by 106: 105 to 101 (240) answered")
        story.queues, story.talks = [SERVED + "caller"], ["105 106", "105 101"]
        story.rings.append("105 > 101 answered in care")
        assert await scene.story() == story


async def test_an_attended_transfer_of_a_waiting_leg(scene: Scene) -> None:
    caller, transferring = await scene.connect("105", "106")
    second = await (await scene.phone("106")).call("240").up()
    await in_state(scene, "waiting")
    assert await transferring.refer("240", second) == 202
    await second.over()
    async with members(scene, "care", "PJSIP/101"):
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101")
        await caller.hang_up()
        await member.over()
        story = queued("caller 105", "attended by 106: 105 to 101 (240) answered")
        story.queues, story.talks = [SERVED + "caller"], ["105 106", "105 101"]
        story.rings.append("105 > 101 answered in care")
        story.callees.append("106'")
        assert await scene.story() == story


async def test_an_attended_transfer_of_a_served_leg(scene: Scene) -> None:
    """For the queue the caller's leg ends or is transferred: two threads of Asterisk decide which one it reports."""
    async with members(scene, "care", "PJSIP/101"):
        caller, transferring = await scene.connect("105", "106")
        second = await (await scene.phone("106")).call("240").up()
        member = await answer(scene, "101")
        await scene.wait_talk("106", "101")
        assert await transferring.refer("240", second) == 202
        await second.over()
        await scene.wait_talk("105", "101")
        await member.hang_up()
        await caller.over()
        story = queued("callee 101", "attended by 106: 105 to 101 (240) answered")
        story.talks = ["105 106", "106' 101", "105 101"]
        story.rings.append("106' > 101 answered in care")
        story.callees.append("106'")
        ended = await scene.story()
        story.queues = ended.queues
        assert ended == story
        assert ended.queues in ([f"care: 106' answered by Bob Baker, ended by {end}"] for end in ("caller", "transfer"))


async def test_an_attended_transfer_into_a_queue_by_keys(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller, transferring = await scene.connect("105", "106")
        await transferring.press("*2240")
        member = await answer(scene, "101")
        await scene.wait_talk("106", "101")
        await transferring.hang_up()
        await scene.wait_talk("105", "101")
        await member.hang_up()
        await caller.over()
        story = queued("callee 101", "attended by 106: 105 to 101 (240) answered")
        story.queues, story.talks = ["care: 106 answered by Bob Baker, ended by agent"], ["105 106"]
        story.talks += ["106 101", "105 101"]
        story.rings.append("106 > 101 answered in care")
        story.holds = ["106"]
        assert await scene.story() == story


def handed_on(hangup: str, transfer: str, means: str) -> Story:
    """Return the story of a caller whom the agent 101 hands on to 102; by feature code he holds the caller."""
    story = Story("105", "240", "answered", hangup, "101", "101", transfers=[transfer], queues=[SERVED + "transfer"])
    story.agents, story.callees = ["101"], ["102"]
    story.holds = ["101"] if means == "keys" else []
    return story


def queued(hangup: str, transfer: str) -> Story:
    """Return the story of a caller 105 whom 106 transfers into a queue, where 101 serves him."""
    story = Story("105", "106", "answered", hangup, "106", "106", transfers=[transfer])
    story.agents, story.callees, story.rings = ["101"], ["106"], ["105 > 106 answered"]
    return story


def assert_talk_of_agent(call: Call) -> None:
    """Fail unless the agent's talk ends with his own conversations.

    It is Asterisk's own number of whole seconds where the queue noticed the transfer. Otherwise it is exact.
    """
    (passage,) = call.queues
    assert passage.answered_at is not None
    assert passage.talk_seconds is not None
    (agent,) = [party.unique_id for party in call.parties if party.role == "agent"]
    own = [talk for talk in call.conversations if agent in {party.unique_id for party in talk.parties}]
    end = max(talk.ended_at for talk in own if talk.ended_at is not None)
    difference = abs(passage.talk_seconds - (end - passage.answered_at).total_seconds())
    assert difference < (2 if passage.talk_seconds.is_integer() else 0.001)
