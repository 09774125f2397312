"""Pickups, forwards, and hold."""

import pytest

from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story


@pytest.mark.parametrize("code", ["*8101", "*8"], ids=["extension", "group"])
async def test_a_phone_takes_a_ringing_call(scene: Scene, code: str) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("101")
    ringing = await bob.rung()
    await call.ringing.wait()
    taking = await carol.call(code).up()
    await call.up()
    assert await ringing.over() == 487
    await scene.wait_talk("100", "102")
    await taking.hang_up()
    await call.over()
    assert await scene.story() == Story(
        "100",
        "101",
        "answered",
        "callee 102",
        answered_by="102",
        destination="102",
        rings=["100 > 101 picked_up"],
        talks=["100 102"],
        pickups=["102 of 101"],
        callees=["101", "102"],
    )


async def test_a_pickup_finds_no_call(scene: Scene) -> None:
    call = (await scene.phone("102")).call("*8101")
    await call.over()
    story = await scene.story()
    assert (story.caller, story.dialled, story.rings, story.pickups) == ("102", "*8101", [], [])
    assert (story.outcome, story.talks) == ("no_answer", [])


async def test_a_phone_forwards_by_302(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("101")
    (await bob.rung()).forward("102")
    answering = await carol.rung()
    answering.answer()
    await call.up()
    await scene.wait_talk("100", "102")
    await answering.hang_up()
    await call.over()
    assert await scene.story() == Story(
        "100",
        "101",
        "answered",
        "callee 102",
        answered_by="102",
        destination="102",
        rings=["100 > 101 forwarded", "100 > 102 answered"],
        talks=["100 102"],
        forwards=["101 to 102"],
        callees=["101", "102"],
    )


async def test_a_forwarded_call_is_refused(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("101")
    (await bob.rung()).forward("102")
    (await carol.rung()).refuse()
    await call.over()
    story = await scene.story()
    assert story.rings == ["100 > 101 forwarded", "100 > 102 busy"]
    assert (story.forwards, story.talks, story.destination) == (["101 to 102"], [], "102")


async def test_the_dialplan_forwards_by_local(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("841")
    await (await bob.rung()).over()
    answering = await carol.rung()
    answering.answer()
    await call.up()
    await call.hang_up()
    await answering.over()
    assert await scene.story() == Story(
        "100",
        "841",
        "answered",
        "caller 100",
        answered_by="102",
        destination="102",
        rings=["100 > 101 no_answer", "100 > 102 answered"],
        talks=["100 102"],
        callees=["101", "102"],
    )


async def test_both_sides_hold(scene: Scene) -> None:
    call, answering = await scene.connect("100", "101")
    story = Story(
        "100",
        "101",
        state="held",
        answered_by="101",
        destination="101",
        rings=["100 > 101 answered"],
        talks=["100 101"],
        holds=["100"],
        callees=["101"],
    )
    await call.hold()
    await scene.wait_story(story)
    await call.hold(on=False)
    story.state = "talking"
    await scene.wait_story(story)
    await answering.hold()
    story.state, story.holds = "held", ["100", "101"]
    await scene.wait_story(story)
    await answering.hang_up()
    await call.over()
    story.state, story.outcome, story.hangup = "ended", "answered", "callee 101"
    assert await scene.story() == story
