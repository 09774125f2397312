"""Transfers by REFER and by feature code, by the caller and by the callee; 100 calls 101, the third is 102."""

import pytest

from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story, story_of
from tests.e2e.phone import Call

SIDES = pytest.mark.parametrize("by", ["100", "101"], ids=["by-the-caller", "by-the-callee"])
METHODS = pytest.mark.parametrize("method", ["refer", "code"])


async def ends_of(scene: Scene, by: str) -> tuple[Call, Call]:
    """Let 100 call 101; return the transferer's end and the transferee's."""
    caller, called = await scene.connect("100", "101")
    return (caller, called) if by == "100" else (called, caller)


def story_with(by: str, transfer: str, *rings: str) -> Story:
    """Return the story of a transfer until the end of 102's talk with the transferee, which 102 ends."""
    other = transferee(by)
    return Story(
        "100",
        "101",
        "answered",
        "callee 102",
        answered_by="101",
        destination="101",
        rings=["100 > 101 answered", *rings],
        talks=["100 101", f"{other} 102"],
        transfers=[transfer],
        callees=["101", "102"],
    )


def transferee(by: str) -> str:
    return "101" if by == "100" else "100"


@SIDES
@METHODS
async def test_a_blind_transfer(scene: Scene, by: str, method: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    if method == "refer":
        assert await line.refer("102") == 202
        await line.transferred_up()
        await line.hang_up()
    else:
        await line.press("#1102")
    ringing = await carol.rung()
    await line.over()
    expected = story_with(by, f"blind by {by}: {other} to 102 (102) None", f"{other} > 102 None")
    expected.state, expected.outcome, expected.hangup, expected.talks = "ringing", None, None, ["100 101"]
    expected.holds = [by] if method == "code" else []
    await scene.wait_story(expected)
    ringing.answer()
    await scene.wait_talk(other, "102")
    await ringing.hang_up()
    await partner.over()
    expected = story_with(by, f"blind by {by}: {other} to 102 (102) answered", f"{other} > 102 answered")
    expected.holds = [by] if method == "code" else []
    assert await scene.story() == expected


@METHODS
async def test_a_blind_transfer_to_a_busy_phone(scene: Scene, method: str) -> None:
    carol = await scene.phone("102")
    line, partner = await ends_of(scene, "101")
    if method == "refer":
        assert await line.refer("102") == 202
        await line.hang_up()
    else:
        await line.press("#1102")
    (await carol.rung()).refuse()
    await partner.over()
    story = await scene.story()
    assert story.transfers == ["blind by 101: 100 to 102 (102) busy"]
    assert story.rings == ["100 > 101 answered", "100 > 102 busy"]
    assert (story.outcome, story.talks, story.destination) == ("answered", ["100 101"], "101")


async def test_a_blind_transfer_to_no_extension(scene: Scene) -> None:
    line, partner = await ends_of(scene, "101")
    assert await line.refer("534") == 202
    await line.hang_up()
    await partner.over()
    story = await scene.story()
    assert story.transfers == ["blind by 101: 100 to - (534) failed"]
    assert (story.outcome, story.talks) == ("answered", ["100 101"])


@SIDES
async def test_an_attended_transfer_by_refer(scene: Scene, by: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.hold()
    second = line.phone.call("102")
    ringing = await carol.rung()
    ringing.answer()
    await second.up()
    await scene.wait_talk(by, "102")
    assert await line.refer("102", replaces=second) == 202
    await line.transferred_up()
    await line.hang_up()
    await second.hang_up()
    await scene.wait_talk(other, "102")
    await ringing.hang_up()
    await partner.over()
    expected = story_with(by, f"attended by {by}: {other} to 102 (102) answered", f"{by}' > 102 answered")
    expected.talks.insert(1, f"{by}' 102")
    expected.holds = [by]
    expected.callees = ["101", *(["101'"] if by == "101" else []), "102"]
    assert await scene.story() == expected


@SIDES
async def test_an_attended_transfer_by_code(scene: Scene, by: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.press("*2102")
    ringing = await carol.rung()
    ringing.answer()
    await scene.wait_talk(by, "102")
    await line.hang_up()
    await scene.wait_talk(other, "102")
    await ringing.hang_up()
    await partner.over()
    expected = story_with(by, f"attended by {by}: {other} to 102 (102) answered", f"{by} > 102 answered")
    expected.talks.insert(1, f"{by} 102")
    expected.holds = [by]
    assert await scene.story() == expected


@SIDES
async def test_a_blonde_transfer_by_refer(scene: Scene, by: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.hold()
    second = line.phone.call("102")
    ringing = await carol.rung()
    await second.ringing.wait()
    assert await line.refer("102", replaces=second) == 202
    await second.over()
    await line.hang_up()
    ringing.answer()
    await scene.wait_talk(other, "102")
    await ringing.hang_up()
    await partner.over()
    expected = story_with(by, f"blonde by {by}: {other} to 102 (102) answered", f"{by}' > 102 answered")
    expected.holds = [by]
    expected.callees = ["101", *(["101'"] if by == "101" else []), "102"]
    assert await scene.story() == expected


@SIDES
async def test_a_blonde_transfer_by_code(scene: Scene, by: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.press("*2102")
    ringing = await carol.rung()
    await line.hang_up()
    expected = story_with(by, f"blonde by {by}: {other} to 102 (102) None", f"{by} > 102 None")
    expected.state, expected.outcome, expected.hangup, expected.talks = "ringing", None, None, ["100 101"]
    expected.holds = [by]
    await scene.wait_story(expected)
    ringing.answer()
    await scene.wait_talk(other, "102")
    await ringing.hang_up()
    await partner.over()
    expected = story_with(by, f"blonde by {by}: {other} to 102 (102) answered", f"{by} > 102 answered")
    expected.holds = [by]
    assert await scene.story() == expected


@SIDES
async def test_a_blonde_transfer_refused_comes_back(scene: Scene, by: str) -> None:
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.press("*2102")
    ringing = await carol.rung()
    await line.hang_up()
    await scene.wait_transfers(1)
    ringing.refuse()
    await talk_again(scene, line, partner, by)
    expected = returned(by, f"blonde by {by}: {other} to 102 (102) busy", f"{by} > 102 busy")
    assert await scene.story() == expected


@SIDES
async def test_a_blonde_transfer_unanswered_comes_back(scene: Scene, by: str) -> None:
    """The dial ends, not Asterisk's timer: that one may end the call back too, a millisecond after its beginning."""
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.press("*2832")
    ringing = await carol.rung()
    await line.hang_up()
    assert await ringing.over() == 487
    await talk_again(scene, line, partner, by)
    expected = returned(by, f"blonde by {by}: {other} to 102 (832) no_answer", f"{by} > 102 no_answer")
    assert await scene.story() == expected


@SIDES
async def test_an_unanswered_call_back_is_its_own(scene: Scene, by: str) -> None:
    """Asterisk dials the transferer like an Originate: no event has ids of both calls until he answers."""
    other, carol = transferee(by), await scene.phone("102")
    line, partner = await ends_of(scene, by)
    await line.press("*2832")
    ringing = await carol.rung()
    await line.hang_up()
    assert await ringing.over() == 487
    back = await line.phone.rung()
    await partner.hang_up()
    assert await back.over() == 487
    expected = story_with(by, f"blonde by {by}: {other} to 102 (832) no_answer", f"{by} > 102 no_answer")
    expected.hangup = "callee 101" if by == "100" else "caller 100"
    expected.holds, expected.talks = [by], ["100 101"]
    alone = Story(None, None, "no_answer", "pbx", destination=by, rings=[f"pbx > {by} no_answer"], originated=True)
    alone.callees = [by]
    assert [story_of(call) for call in await scene.ended(2)] == [expected, alone]


async def talk_again(scene: Scene, line: Call, partner: Call, by: str) -> None:
    """Answer the call back of the transferer, and let the transferee end the talk."""
    back = await line.phone.rung()
    back.answer()
    await scene.wait_talk(transferee(by), by + "'")
    await partner.hang_up()
    await back.over()


def returned(by: str, transfer: str, ring: str) -> Story:
    """Return the story of a transferee who came back to the transferer."""
    return Story(
        "100",
        "101",
        "answered",
        "callee 101" if by == "100" else "caller 100",
        answered_by="101",
        destination="101",
        rings=["100 > 101 answered", ring, f"pbx > {by}' answered"],
        talks=["100 101", f"{transferee(by)} {by}'"],
        transfers=[transfer],
        holds=[by],
        callees=["101", "102", f"{by}'"],
    )
