"""Two phones: who hangs up, and calls that come to nothing."""

import pytest

from tests.e2e.calls.scene import Scene, active_calls
from tests.e2e.calls.story import Story


async def test_the_caller_hangs_up(scene: Scene) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call("101")
    ringing = await bob.rung()
    story = Story("100", "101", state="ringing", destination="101", rings=["100 > 101 None"], callees=["101"])
    await scene.wait_story(story)
    ringing.answer()
    await call.up()
    story.state, story.answered_by = "talking", "101"
    story.rings, story.talks = ["100 > 101 answered"], ["100 101"]
    await scene.wait_story(story)
    assert await active_calls(scene.asterisk) == 1
    await call.hang_up()
    story.state, story.outcome, story.hangup = "ended", "answered", "caller 100"
    assert await scene.story() == story


async def test_the_callee_hangs_up(scene: Scene) -> None:
    call, answering = await scene.connect("100", "101")
    await answering.hang_up()
    await call.over()
    assert await scene.story() == Story(
        "100",
        "101",
        "answered",
        "callee 101",
        answered_by="101",
        destination="101",
        rings=["100 > 101 answered"],
        talks=["100 101"],
        callees=["101"],
    )


async def test_the_called_phone_rings_unanswered(scene: Scene) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call("800")
    ringing = await bob.rung()
    assert await ringing.over() == 487
    await call.over()
    assert await scene.story() == unanswered("800", "no_answer", "pbx", "no_answer")


async def test_the_caller_gives_up(scene: Scene) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call("101")
    ringing = await bob.rung()
    await call.ringing.wait()
    await call.hang_up()
    assert await ringing.over() == 487
    assert await scene.story() == unanswered("101", "cancelled", "caller 100", "cancelled")


@pytest.mark.parametrize(
    ("refusal", "ring", "outcome"),
    [
        ("486 Busy Here", "busy", "busy"),
        ("603 Decline", "no_answer", "busy"),
        ("503 Service Unavailable", "congestion", "congestion"),
    ],
    ids=["busy", "declined", "congestion"],
)
async def test_the_called_phone_refuses(scene: Scene, refusal: str, ring: str, outcome: str) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call("101")
    (await bob.rung()).refuse(refusal)
    await call.over()
    assert await scene.story() == unanswered("101", outcome, "caller 100" if ring != "no_answer" else "pbx", ring)


@pytest.mark.parametrize(
    ("extension", "outcome", "by"),
    [
        # Busy() and Congestion() refuse the call and wait. The end of its SIP session then is a HangupRequest.
        ("500", "busy", "caller 100"),
        ("501", "congestion", "caller 100"),
        ("517", "busy", "pbx"),
        ("534", "congestion", "pbx"),
    ],
    ids=["busy", "congestion", "cause-17", "cause-34"],
)
async def test_asterisk_refuses(scene: Scene, extension: str, outcome: str, by: str) -> None:
    call = (await scene.phone("100")).call(extension)
    await call.over()
    assert await scene.story() == Story("100", extension, outcome, by, destination=extension)


async def test_the_called_phone_is_not_registered(scene: Scene) -> None:
    call = (await scene.phone("100")).call("109")
    await call.over()
    assert await scene.story() == Story("100", "109", "failed", "pbx", destination="109")


async def test_asterisk_alone_answers(scene: Scene) -> None:
    call = await (await scene.phone("100")).call("504").up()
    await scene.wait_story(Story("100", "504", destination="504", state="pbx"))
    await call.hang_up()
    assert await scene.story() == Story("100", "504", "pbx_only", "caller 100", destination="504")


def unanswered(dialled: str, outcome: str, hangup: str, ring: str) -> Story:
    """Return the story of a call from 100 that rings 101 without an answer."""
    return Story("100", dialled, outcome, hangup, destination="101", rings=[f"100 > 101 {ring}"], callees=["101"])
