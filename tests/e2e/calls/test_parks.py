"""Parked calls: retrieved by another phone, forgotten, and given up."""

import pytest

from tests.e2e.calls.queue_steps import in_state
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story
from tests.e2e.phone import Call as Line
from tests.e2e.stories import wait_parked


async def park(scene: Scene, lot: str) -> Line:
    """Let 106, called by 105, transfer the caller into a parking lot; return the caller's end."""
    caller, parking = await scene.connect("105", "106")
    assert await parking.refer(lot) == 202
    await wait_parked(scene.asterisk, 1)
    await parking.hang_up()
    return caller


@pytest.mark.parametrize("means", ["refer", "keys"])
async def test_a_parked_call_is_retrieved(scene: Scene, means: str) -> None:
    if means == "refer":
        caller = await park(scene, "700")
    else:
        caller, parking = await scene.connect("105", "106")
        await parking.press("#72")
        await parking.over()
    call = await in_state(scene, "parked")
    story = parked(means)
    assert await scene.lasting() == story
    retrieving = await (await scene.phone("102")).call(call.parks[0].space).up()
    await scene.wait_talk("105", "102")
    await retrieving.hang_up()
    await caller.over()
    story.state, story.outcome, story.hangup = "ended", "answered", "callee 102"
    story.parks, story.talks = ["105 by PJSIP/106 retrieved by 102"], ["105 106", "105 102"]
    story.callees.append("102")
    if means == "refer":
        story.transfers = ["blind by 106: 105 to - (700) answered"]
    assert await scene.story() == story


async def test_a_forgotten_call_goes_back_to_its_parker(scene: Scene) -> None:
    caller = await park(scene, "780")
    back = await (await scene.phone("106")).rung()
    back.answer()
    await scene.wait_talk("105", "106'")
    await caller.hang_up()
    await back.over()
    story = parked("refer", "780")
    story.state, story.outcome, story.hangup = "ended", "answered", "caller 105"
    story.parks, story.talks, story.callees = ["105 by PJSIP/106 timeout"], ["105 106", "105 106'"], ["106", "106'"]
    story.rings.append("105 > 106' answered")
    assert await scene.story() == story


async def test_a_parked_caller_gives_up(scene: Scene) -> None:
    caller = await park(scene, "700")
    await in_state(scene, "parked")
    await caller.hang_up()
    story = parked("refer")
    story.state, story.outcome, story.hangup = "ended", "answered", "caller 105"
    story.parks = ["105 by PJSIP/106 gave_up"]
    assert await scene.story() == story


def parked(means: str, lot: str = "700") -> Story:
    """Return the story of a caller 105 whom 106 has parked; a feature code is no transfer."""
    story = Story("105", "106", answered_by="106", destination="106", callees=["106"], state="parked")
    story.rings, story.talks, story.parks = ["105 > 106 answered"], ["105 106"], ["105 by PJSIP/106 None"]
    story.transfers = [f"blind by 106: 105 to - ({lot}) None"] if means == "refer" else []
    return story
