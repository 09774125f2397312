"""A conference of three, a message in a mailbox, and a recording with a pause."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from schemas.calls import Call
from tests.e2e.calls.queue_steps import answer, until
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story
from tests.e2e.phone import Call as Line
from tests.support.polling import eventually

MAILBOX = "/var/spool/asterisk/voicemail/default/100"
RECORDING = "/var/spool/asterisk/monitor/scene.wav"


def talks(call: Call) -> list[str]:
    """Return with whom the caller of a conference talked: persons of other calls too."""
    return [" ".join(party.endpoint.removeprefix("PJSIP/") for party in talk.parties) for talk in call.conversations]


async def test_three_come_to_a_conference_and_go(scene: Scene) -> None:
    """ConfBridge merges no calls: each one has the conversations of its own person."""
    lines = []
    for number, user in enumerate(("105", "106", "107"), 1):
        lines.append(await (await scene.phone(user)).call("254").up())
        await wait_members(scene, number)
    await lines[0].hang_up()
    await wait_conference(scene, "106", "107")
    again = await (await scene.phone("105")).call("254").up()
    await wait_conference(scene, "105", "106", "107")
    await lines[1].hang_up()
    await wait_conference(scene, "105", "107")
    await lines[2].hang_up()
    await wait_members(scene, 1)
    await again.hang_up()
    first, second, third, fourth = await scene.ended(4)
    assert talks(first) == ["105 106", "105 106 107"]
    assert talks(second) == ["106 105", "106 105 107", "106 107", "106 107 105"]
    assert talks(third) == ["107 105 106", "107 106", "107 106 105", "107 105"]
    assert talks(fourth) == ["105 106 107", "105 107"]
    for call in (first, second, third, fourth):
        assert (call.outcome, call.aliases, [stay.name for stay in call.conferences]) == ("answered", [], ["8001"])
        assert {talk.conference for talk in call.conversations} == {"8001"}


async def wait_conference(scene: Scene, *users: str) -> None:
    """Wait until exactly these phones talk with each other, though each has a call of its own."""

    def is_met(calls: list[Call]) -> bool:
        talks = [talk for call in calls for talk in call.conversations if talk.ended_at is None]
        return any({party.endpoint for party in talk.parties} == {f"PJSIP/{user}" for user in users} for talk in talks)

    await until(scene, is_met, f"{users} talk")


async def wait_members(scene: Scene, number: int) -> None:
    """Wait until a number of calls are in the conference."""
    await until(scene, lambda calls: members_of(calls) == number, f"{number} are in the conference")


def members_of(calls: list[Call]) -> int:
    return sum(stay.until is None for call in calls for stay in call.conferences)


@contextlib.asynccontextmanager
async def speech(line: Line) -> AsyncIterator[None]:
    """Send 20 ms of silence every 20 ms."""

    async def speak() -> None:
        while True:
            line.speak()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_caller_leaves_a_message(scene: Scene) -> None:
    asterisk = scene.asterisk
    line = await (await scene.phone("105")).call("252").up()

    async def is_recording() -> bool:
        return "msg" in await asterisk.shell("sh", "-c", f"ls {MAILBOX}/tmp {MAILBOX}/INBOX 2>/dev/null || true")

    async with speech(line):
        await eventually(is_recording, "Asterisk records the message")
    await line.hang_up()
    (call,) = await scene.ended()
    assert call.hangup is not None
    # Asterisk stops to record where a machine is so busy that it receives no speech for two seconds.
    story = Story("105", "252", "pbx_only", "caller 105" if call.hangup.by == "caller" else "pbx", destination="252")
    story.voicemails = ["105 to 100@default"]
    assert await scene.story() == story
    assert "msg0000.txt" in await asterisk.shell("ls", f"{MAILBOX}/INBOX")
    await asterisk.shell("rm", "-r", MAILBOX)


async def test_a_recording_with_a_pause_is_one(scene: Scene) -> None:
    await scene.phone("101")
    line = (await scene.phone("105")).call("253")
    member = await answer(scene, "101")
    await scene.wait_talk("105", "101")
    (call,) = await scene.calls()
    act, channel = scene.asterisk.ami.act, call.legs[0].channel
    await act("StopMixMonitor", Channel=channel)
    await until(scene, lambda calls: calls[0].recordings[0].ended_at is not None, "the recording pauses")
    await act("MixMonitor", Channel=channel, File="scene.wav", options="a")
    await until(scene, lambda calls: calls[0].recordings[0].ended_at is None, "the recording goes on")
    await line.hang_up()
    await member.over()
    story = Story("105", "253", "answered", "caller 105", "101", "101", callees=["101"])
    story.rings, story.talks, story.recordings = ["105 > 101 answered"], ["105 101"], [f"105 {RECORDING}"]
    assert await scene.story() == story
    (call,) = await scene.ended()
    (recording,), (talk,) = call.recordings, call.conversations
    assert recording.ended_at is not None
    assert recording.started_at < talk.started_at < recording.ended_at
