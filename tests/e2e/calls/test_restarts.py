"""The PBX or the listener restarts in the middle of a call: the call admits its gap, and the next list ends it."""

import asyncio

from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.queue_steps import until
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story, story_of
from tests.e2e.conftest import StartLedger
from tests.e2e.ledger import Ledger
from tests.e2e.stories import connect_phones
from tests.support.calls import reasons


def cut_off() -> Story:
    """Return the story of a call from 105 to 106 whose end has no event."""
    story = Story("105", "106", "answered", None, "106", "106", callees=["106"], complete=False)
    story.rings, story.talks = ["105 > 106 answered"], ["105 106"]
    return story


async def test_the_pbx_is_killed_in_mid_call(scene: Scene) -> None:
    asterisk = scene.asterisk
    await scene.connect("105", "106")
    await scene.wait_talk("105", "106")
    asterisk.ami.close()
    container = asterisk.container.get_wrapped_container()
    await asyncio.to_thread(container.kill)
    await asyncio.to_thread(container.start)
    await asterisk.reach()
    (call,) = await until(scene, lambda calls: calls[0].state == "ended", "a list lacks the call")
    assert (story_of(call), reasons(call)) == (cut_off(), ["disconnected", "lost"])


async def test_the_listener_restarts_in_mid_call(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    before = await start_ledger(asterisk.host)
    await before.snapshot()
    scene = Scene(asterisk, before, await before.caught_up(asterisk))
    ended, _ = await connect_phones(asterisk, "105", "106")
    lasting, _ = await connect_phones(asterisk, "107", "108")
    await scene.wait_talk("105", "106")
    await scene.wait_talk("107", "108")
    await before.stop()
    await ended.hang_up()
    after = Ledger(before.url, asterisk.host)
    await after.start()
    try:
        scene.ledger = after
        call, _ = await until(scene, lambda calls: calls[0].state == "ended", "a list lacks the call")
        assert (story_of(call), reasons(call)) == (cut_off(), ["disconnected", "lost"])
        await lasting.hang_up()
        _, call = await until(scene, lambda calls: calls[1].state == "ended", "the other call has ended")
        story = Story("107", "108", "answered", "caller 107", "108", "108", callees=["108"], complete=False)
        story.rings, story.talks = ["107 > 108 answered"], ["107 108"]
        assert (story_of(call), reasons(call)) == (story, ["disconnected"])
    finally:
        await after.stop()
