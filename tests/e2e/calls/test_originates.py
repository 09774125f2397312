"""Calls that the PBX begins: Originate to an extension and to an application, and a call file."""

from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story

CALL_FILE = "Channel: PJSIP/100\nContext: internal\nExtension: 101\nPriority: 1\n"
WRITE = "printf '%s' '{text}' > /tmp/scene.call && mv /tmp/scene.call /var/spool/asterisk/outgoing/"
"""Asterisk reads a call file once it is in its folder, so it must be whole by then."""


async def originate(scene: Scene, **headers: str) -> None:
    await scene.asterisk.ami.act("Originate", Channel="PJSIP/100", Async="true", **headers)


async def two_phones(scene: Scene) -> Story:
    """Answer both phones of an originated call, and return its story."""
    alice, bob = await scene.phones("100", "101")
    first = await alice.rung()
    story = Story(None, None, state="ringing", originated=True, destination="100", rings=["pbx > 100 None"])
    story.callees = ["100"]
    await scene.wait_story(story)
    first.answer()
    second = await bob.rung()
    second.answer()
    await scene.wait_talk("100", "101")
    await second.hang_up()
    await first.over()
    return await scene.story()


BOTH = Story(
    "100",
    "101",
    "answered",
    "callee 101",
    originated=True,
    answered_by="101",
    destination="101",
    rings=["pbx > 100 answered", "100 > 101 answered"],
    talks=["100 101"],
    callees=["101"],
)


async def test_an_originate_to_an_extension(scene: Scene) -> None:
    await scene.phones("100", "101")
    await originate(scene, Context="internal", Exten="101", Priority="1")
    assert await two_phones(scene) == BOTH


async def test_a_call_file_to_an_extension(scene: Scene) -> None:
    await scene.phones("100", "101")
    await scene.asterisk.shell("sh", "-c", WRITE.format(text=CALL_FILE))
    assert await two_phones(scene) == BOTH


async def test_an_originate_dials_as_its_application(scene: Scene) -> None:
    await scene.phones("100", "101")
    await originate(scene, Application="Dial", Data="PJSIP/101")
    assert await two_phones(scene) == BOTH


async def test_an_originate_to_an_application(scene: Scene) -> None:
    alice = await scene.phone("100")
    await originate(scene, Application="Echo")
    call = await alice.rung()
    call.answer()
    await scene.wait_state("pbx")
    await call.hang_up()
    assert await scene.story() == Story(
        "100", None, "pbx_only", "caller 100", originated=True, rings=["pbx > 100 answered"]
    )


async def test_an_originated_phone_rings_unanswered(scene: Scene) -> None:
    alice = await scene.phone("100")
    await originate(scene, Context="internal", Exten="101", Priority="1", Timeout="1000")
    assert await (await alice.rung()).over() == 487
    story = await scene.story()
    assert story == Story(
        None,
        None,
        "no_answer",
        "pbx",
        originated=True,
        destination="100",
        rings=["pbx > 100 no_answer"],
        callees=["100"],
    )
