"""Dials of several phones, and of phones through Local channels."""

import pytest

from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story, story_of
from tests.e2e.phone import open_phone
from tests.support.polling import eventually


async def test_one_phone_of_a_group_answers(scene: Scene) -> None:
    alice, *phones = await scene.phones("100", "101", "102", "103")
    call = alice.call("801")
    ringing = [await phone.rung() for phone in phones]
    story = Story(
        "100",
        "801",
        state="ringing",
        destination="103",
        rings=["100 > 101 None", "100 > 102 None", "100 > 103 None"],
        callees=["101", "102", "103"],
    )
    await scene.wait_story(story)
    ringing[1].answer()
    await call.up()
    await ringing[1].hang_up()
    story.state, story.outcome, story.hangup = "ended", "answered", "callee 102"
    story.answered_by = story.destination = "102"
    story.rings = ["100 > 101 elsewhere", "100 > 102 answered", "100 > 103 elsewhere"]
    story.talks = ["100 102"]
    assert await scene.story() == story


async def test_a_group_rings_unanswered(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("802")
    (await bob.rung()).refuse()
    await (await carol.rung()).over()
    await call.over()
    assert await scene.story() == Story(
        "100",
        "802",
        "busy",
        "pbx",
        destination="102",
        rings=["100 > 101 busy", "100 > 102 no_answer"],
        callees=["101", "102"],
    )


async def test_a_call_forks_to_two_contacts(scene: Scene) -> None:
    alice, bob = await scene.phones("100", "101")
    other = scene.asterisk.phones["101 too"] = await open_phone("101", scene.asterisk.here, (scene.asterisk.host, 5060))
    assert await other.register() == 200
    call = alice.call("803")
    ringing = await bob.rung()
    (await other.rung()).answer()
    await call.up()
    assert await ringing.over() == 487
    await call.hang_up()
    (ended,) = await scene.ended()
    rings = sorted((ring.to.endpoint, ring.outcome) for ring in ended.rings)
    assert rings == [("PJSIP/101", "answered"), ("PJSIP/101", "elsewhere")]
    assert ended.answered_by is not None
    assert [ring.to for ring in ended.rings if ring.outcome == "answered"] == [ended.answered_by]
    assert [len(talk.parties) for talk in ended.conversations] == [2]


async def test_one_phone_rings_after_another(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("804")
    await (await bob.rung()).over()
    answering = await carol.rung()
    answering.answer()
    await call.up()
    await answering.hang_up()
    assert await scene.story() == Story(
        "100",
        "804",
        "answered",
        "callee 102",
        answered_by="102",
        destination="102",
        rings=["100 > 101 no_answer", "100 > 102 answered"],
        talks=["100 102"],
        callees=["101", "102"],
    )


@pytest.mark.parametrize("extension", ["811", "821"], ids=["optimised", "kept"])
async def test_a_phone_rings_through_a_local_channel(scene: Scene, extension: str) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call(extension)
    ringing = await bob.rung()
    story = Story("100", extension, state="ringing", destination="101", rings=["100 > 101 None"], callees=["101"])
    await scene.wait_story(story)
    ringing.answer()
    await call.up()
    await call.hold()
    await call.hold(on=False)
    await ringing.hang_up()
    await call.over()
    story.state, story.outcome, story.hangup = "ended", "answered", "callee 101"
    story.answered_by, story.rings, story.talks = "101", ["100 > 101 answered"], ["100 101"]
    story.holds = ["100"]
    assert await scene.story() == story


@pytest.mark.parametrize("extension", ["811", "821"], ids=["optimised", "kept"])
async def test_a_phone_behind_a_local_channel_refuses(scene: Scene, extension: str) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call(extension)
    (await bob.rung()).refuse()
    await call.over()
    (ended,) = await scene.ended()
    assert [(ring.to.endpoint, ring.outcome) for ring in ended.rings] == [("PJSIP/101", "busy")]
    # The caller's Dial copies no cause from a half that is busy, so the caller's hangup is a normal one.
    assert (ended.outcome, ended.conversations) == ("no_answer", [])


async def test_a_group_rings_through_local_channels(scene: Scene) -> None:
    alice, bob, carol = await scene.phones("100", "101", "102")
    call = alice.call("805")
    ringing = await bob.rung()
    answering = await carol.rung()
    answering.answer()
    await call.up()
    assert await ringing.over() == 487
    await call.hang_up()
    story = await scene.story()
    story.rings.sort()  # each half begins to dial in a thread of its own
    story.callees.sort()
    assert story == Story(
        "100",
        "805",
        "answered",
        "caller 100",
        answered_by="102",
        destination="102",
        rings=["100 > 101 elsewhere", "100 > 102 answered"],
        talks=["100 102"],
        callees=["101", "102"],
    )


@pytest.mark.parametrize("digit", ["1", "2"], ids=["accepted", "rejected"])
async def test_the_called_person_decides_by_a_key(scene: Scene, digit: str) -> None:
    alice, bob = await scene.phones("100", "101")
    call = alice.call("806")
    answering = await bob.rung()
    answering.answer()

    async def reads() -> bool:
        return any("!Read!" in line for line in await scene.asterisk.cli("core show channels concise"))

    await eventually(reads, "the called person hears the menu")
    story = Story("100", "806", state="ringing", destination="101", rings=["100 > 101 None"], callees=["101"])
    await scene.wait_story(story)
    await answering.press(digit)
    story.state, story.rings = "ended", ["100 > 101 answered"]
    if digit == "1":
        await call.up()
        await answering.hang_up()
        story.outcome, story.hangup, story.answered_by, story.talks = "answered", "callee 101", "101", ["100 101"]
    else:
        await call.over()
        story.outcome, story.hangup = "no_answer", "pbx"
    assert await scene.story() == story


INTRO = (
    "cd /usr/share/asterisk/sounds; mkdir -p priv-callerintros; cp $(find -L . -name beep.gsm | head -1) "
    "priv-callerintros/100.gsm"
)
"""The name that the caller has recorded at an earlier call."""


@pytest.mark.parametrize(
    ("digit", "ring"), [("1", "answered"), ("4", "refused"), ("3", "refused")], ids=["accepted", "refused", "tortured"]
)
async def test_the_called_person_screens_the_call(scene: Scene, digit: str, ring: str) -> None:
    await scene.asterisk.shell("sh", "-c", INTRO)
    alice, bob = await scene.phones("100", "101")
    call = alice.call("807")
    answering = await bob.rung()
    answering.answer()
    await answering.press(digit)
    story = Story("100", "807", rings=[f"100 > 101 {ring}"], destination="101", callees=["101"])
    if digit == "1":
        await call.up()
        await call.hang_up()
        story.outcome, story.hangup, story.answered_by, story.talks = "answered", "caller 100", "101", ["100 101"]
    else:
        await call.over()
        story.outcome, story.hangup = "no_answer", "pbx"
    assert await scene.story() == story


async def test_a_caller_whom_the_called_person_barred(scene: Scene) -> None:
    await scene.asterisk.shell("sh", "-c", INTRO)
    alice, bob = await scene.phones("100", "101")
    call = alice.call("808")
    answering = await bob.rung()
    answering.answer()
    await answering.press("4")
    await call.over()
    again = alice.call("808")
    await again.over()
    await scene.asterisk.cli("database deltree privacy/scenes")
    refused, barred = map(story_of, await scene.ended(2))
    story = Story("100", "808", "no_answer", "pbx", destination="101", rings=["100 > 101 refused"], callees=["101"])
    assert refused == story
    assert barred == Story("100", "808", "no_answer", "pbx", destination="808")
