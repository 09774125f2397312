"""Callers who leave a queue without a member: by hanging up, by key, by time, and by the hand of others."""

from tests.e2e.calls.queue_steps import in_state, members
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story, story_of


async def test_a_caller_abandons(scene: Scene) -> None:
    caller = await (await scene.phone("105")).call("240").up()
    await in_state(scene, "waiting")
    story = Story("105", "240", destination="240", queues=["care: 105 None"], state="waiting")
    assert await scene.lasting() == story
    await caller.hang_up()
    assert await scene.story() == left("240", "abandoned", "caller 105", "care: 105 abandoned")


async def test_a_caller_abandons_while_a_member_rings(scene: Scene) -> None:
    async with members(scene, "narrow", "PJSIP/101"):
        caller = await (await scene.phone("105")).call("244").up()
        ringing = await (await scene.phone("101")).rung()
        await in_state(scene, "waiting")
        await caller.hang_up()
        await ringing.over()
        story = left("244", "abandoned", "caller 105", "narrow: 105 abandoned")
        story.rings, story.destination, story.callees = ["105 > 101 cancelled in narrow"], "101", ["101"]
        assert await scene.story() == story


async def test_the_pbx_hangs_a_waiting_caller_up(scene: Scene) -> None:
    caller = await (await scene.phone("105")).call("240").up()
    call = await in_state(scene, "waiting")
    await scene.asterisk.ami.act("Hangup", Channel=call.legs[0].channel)
    await caller.over()
    assert await scene.story() == left("240", "abandoned", "pbx", "care: 105 abandoned")


async def test_a_caller_leaves_by_key(scene: Scene) -> None:
    caller = await (await scene.phone("105")).call("243").up()
    await in_state(scene, "waiting")
    await caller.press("1")
    await in_state(scene, "pbx")
    await caller.hang_up()
    assert await scene.story() == left("243", "pbx_only", "caller 105", "keys: 105 exit_key, key 1")


async def test_a_caller_waits_in_vain(scene: Scene) -> None:
    caller = await (await scene.phone("105")).call("203").up()
    await caller.over()
    assert await scene.story() == left("203", "timeout", "pbx", "empty: 105 timeout")


async def test_a_caller_is_withdrawn(scene: Scene) -> None:
    """Asterisk 16.28 has this action too."""
    caller = await (await scene.phone("105")).call("240").up()
    call = await in_state(scene, "waiting")
    await scene.asterisk.ami.act("QueueWithdrawCaller", Queue="care", Caller=call.legs[0].channel)
    await caller.over()
    assert await scene.story() == left("240", "pbx_only", "pbx", "care: 105 withdrawn")


async def test_a_redirect_takes_a_caller_out(scene: Scene) -> None:
    caller = await (await scene.phone("105")).call("240").up()
    call = await in_state(scene, "waiting")
    place = {"Context": "internal", "Exten": "251", "Priority": "1"}
    await scene.asterisk.ami.act("Redirect", Channel=call.legs[0].channel, **place)
    await in_state(scene, "pbx")
    await caller.hang_up()
    assert await scene.story() == left("240", "pbx_only", "caller 105", "care: 105 unknown")


async def test_a_full_queue_refuses_callers(scene: Scene) -> None:
    first = await (await scene.phone("105")).call("244").up()
    await in_state(scene, "waiting")
    await (await (await scene.phone("106")).call("244").up()).over()
    await first.hang_up()
    stories = [story_of(call) for call in await scene.ended(2)]
    refused = Story("106", "244", "pbx_only", "pbx", destination="244", queues=["narrow: 106 full"])
    assert stories == [left("244", "abandoned", "caller 105", "narrow: 105 abandoned"), refused]


async def test_an_empty_queue_refuses_callers(scene: Scene) -> None:
    await (await (await scene.phone("105")).call("245").up()).over()
    assert await scene.story() == left("245", "pbx_only", "pbx", "strict: 105 join_empty")


async def test_callers_leave_a_queue_without_members(scene: Scene) -> None:
    async with members(scene, "brave", "PJSIP/101"):
        caller = await (await scene.phone("105")).call("246").up()
        ringing = await (await scene.phone("101")).rung()
        await scene.asterisk.ami.act("QueueRemove", Queue="brave", Interface="PJSIP/101")
        await ringing.over()
        await caller.over()
        await scene.asterisk.ami.act("QueueAdd", Queue="brave", Interface="PJSIP/101")
    story = left("246", "pbx_only", "pbx", "brave: 105 left_empty, 1 missed")
    story.rings, story.destination, story.callees = ["105 > 101 no_answer in brave"], "101", ["101"]
    assert await scene.story() == story


def left(dialled: str, outcome: str, hangup: str, passage: str) -> Story:
    """Return the story of a caller 105 whom no member has served."""
    return Story("105", dialled, outcome, hangup, destination=dialled, queues=[passage])
