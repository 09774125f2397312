"""Queues whose members answer: phones, phones behind Local channels, all at once, and after vain rings."""

import pytest

from tests.e2e.calls.queue_steps import answer, members, until
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story

MEMBERS = ("PJSIP/101", "Local/101@members", "Local/101@members/n")


@pytest.mark.parametrize("interface", MEMBERS)
async def test_a_member_answers(scene: Scene, interface: str) -> None:
    async with members(scene, "care", interface):
        caller = (await scene.phone("105")).call("240")
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101")
        await caller.hang_up()
        await member.over()
        assert await scene.story() == served("240", "caller 105", "care: 105 answered by Bob Baker, ended by caller")


async def test_a_member_hangs_up(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller = (await scene.phone("105")).call("240")
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101")
        await member.hang_up()
        await caller.over()
        assert await scene.story() == served("240", "callee 101", "care: 105 answered by Bob Baker, ended by agent")


async def test_all_members_ring_twice(scene: Scene) -> None:
    async with members(scene, "team", "PJSIP/101", "PJSIP/102"):
        caller = (await scene.phone("105")).call("248")
        bob, carol = await scene.phones("101", "102")
        assert [await (await phone.rung()).over() for phone in (bob, carol)] == [487, 487]
        member = await answer(scene, "102")
        await scene.wait_talk("105", "102'")
        await caller.hang_up()
        await member.over()
        story = Story("105", "248", "answered", "caller 105", "102'", "102'")
        story.rings = [
            "105 > 101 no_answer in team",
            "105 > 102 no_answer in team",
            "105 > 101' elsewhere in team",
            "105 > 102' answered in team",
        ]
        story.talks, story.agents, story.callees = ["105 102'"], ["102'"], ["101", "102", "101'"]
        story.queues = ["team: 105 answered by Carol Chu, ended by caller, 2 missed"]
        assert await scene.story() == story


async def test_the_next_member_answers(scene: Scene) -> None:
    """The rejection of a phone behind a Local channel counts by the phone's own word."""
    async with members(scene, "care", "Local/101@members/n", "PJSIP/102"):
        caller = (await scene.phone("105")).call("240")
        (await (await scene.phone("101")).rung()).refuse()
        member = await answer(scene, "102")
        await scene.wait_talk("105", "102")
        await caller.hang_up()
        await member.over()
        story = Story("105", "240", "answered", "caller 105", "102", "102", talks=["105 102"])
        story.rings = ["105 > 101 busy in care", "105 > 102 answered in care"]
        story.queues = ["care: 105 answered by Carol Chu, ended by caller, 1 missed"]
        story.agents, story.callees = ["102"], ["101"]
        assert await scene.story() == story


async def test_a_queue_entered_twice(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller = (await scene.phone("105")).call("241")
        await (await (await scene.phone("101")).rung()).over()
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101'")
        await caller.hang_up()
        await member.over()
        story = served("241", "caller 105", "care: 105 answered by Bob Baker, ended by caller")
        story.queues.insert(0, "care: 105 timeout, 1 missed")
        story.rings = ["105 > 101 no_answer in care", "105 > 101' answered in care"]
        story.answered_by = story.destination = "101'"
        story.talks, story.agents, story.callees = ["105 101'"], ["101'"], ["101"]
        assert await scene.story() == story


async def test_two_queues_one_after_the_other(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller = (await scene.phone("105")).call("242")
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101")
        await caller.hang_up()
        await member.over()
        story = served("242", "caller 105", "care: 105 answered by Bob Baker, ended by caller")
        story.queues.insert(0, "empty: 105 timeout")
        assert await scene.story() == story


async def test_an_announcement_before_the_talk(scene: Scene) -> None:
    async with members(scene, "care", "PJSIP/101"):
        caller = (await scene.phone("105")).call("247")
        member = await answer(scene, "101")
        await scene.wait_talk("105", "101")
        await caller.hang_up()
        await member.over()
        (call,) = await scene.ended()
        assert await scene.story() == served("247", "caller 105", "care: 105 answered by Bob Baker, ended by caller")
        (ring,), (talk,) = call.rings, call.conversations
        assert ring.ended_at is not None
        assert (talk.started_at - ring.ended_at).total_seconds() > 0.5, "the announcement takes a second"


async def test_both_hang_up_during_an_announcement(scene: Scene) -> None:
    """The member is up, and has not talked. Asterisk notices the caller's hangup when the announcement has ended."""
    async with members(scene, "care", "PJSIP/101"):
        caller = await (await scene.phone("105")).call("250").up()
        member = await answer(scene, "101")
        await until(scene, lambda calls: calls[-1].rings[0].outcome == "answered", "the member is up")
        await caller.hang_up()
        await member.hang_up()
        story = Story("105", "250", "abandoned", "caller 105", destination="101", callees=["101"])
        story.rings, story.queues = ["105 > 101 answered in care"], ["care: 105 abandoned"]
        assert await scene.story() == story


def served(dialled: str, hangup: str, passage: str) -> Story:
    """Return the story of a caller 105 whom the member 101 has served."""
    story = Story("105", dialled, "answered", hangup, "101", "101", agents=["101"], queues=[passage])
    story.rings, story.talks = ["105 > 101 answered in care"], ["105 101"]
    return story
