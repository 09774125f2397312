"""Async dialplans over a real log and a scripted PBX: each command once, in order, and an end to every run."""

from functools import partial

import pytest

from schemas.acts import ActRequested, builtins
from schemas.acts.channel import ChannelHangup
from schemas.adps import AdpChanged, AdpDeleted, AdpmaDeleted
from services.database.notify import notify_commander
from services.log.read import head_position
from tests.support.async_agi import COMMANDS, MASTER, OTHER, Scene, scenes
from tests.support.event_log import EventLog
from tests.support.fake_ami import block
from tests.support.fake_channels import BREAK
from tests.support.polling import eventually


async def test_a_channel_gets_its_commands_in_order(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.results["SET VARIABLE GREETED yes"] = "200 result=1"
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("finished", "")
    assert scene.commands() == [*COMMANDS, BREAK]
    events = await scene.run_events()
    run = events[0]["id"]
    assert [(e["type"], e.get("step"), e.get("command") or e.get("result")) for e in events[1:-2]] == [
        ("AgiStepSent", 1, "ANSWER"),
        ("AgiStepDone", 1, "200 result=0"),
        ("AgiStepSent", 2, "SAY DIGITS 42 #"),
        ("AgiStepDone", 2, "200 result=0"),
        ("AgiStepSent", 3, "SET VARIABLE GREETED yes"),
        ("AgiStepDone", 3, "200 result=1"),
    ]
    assert [e["type"] for e in (events[0], *events[-2:])] == ["AgiRunStarted", "AgiBreakSent", "AgiRunEnded"]
    assert {e["id"] for e in events} == {run}
    actions = scene.ami.actions_named("AGI")
    assert [a["CommandID"] for a in actions] == [f"{run}/1", f"{run}/2", f"{run}/3", f"{run}/break"]
    assert {a["Channel"] for a in actions} == {"1.1"}, "the unique id, because no other call ever has it"


async def test_a_run_is_a_row_of_agi_runs(scene: Scene) -> None:
    await scene.create_master(MASTER, "ANSWER", "WAIT")
    scene.channels.results["WAIT"] = "510 Invalid or unknown command"
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.wait_ended()
    await scene.wait_folded(await head_position(scene.connection))
    (row,) = await scene.connection.fetch("SELECT * FROM agi_runs")
    assert (row["pbx"], row["channel"], row["unique_id"], row["master"]) == ("pbx", "PJSIP/1.1", "1.1", MASTER)
    assert (row["state"], row["steps"], row["step"], row["outcome"]) == ("error", 2, 2, "failed")
    assert row["message"] == "WAIT: 510 Invalid or unknown command"
    assert row["started"] <= row["ended"]


async def test_a_command_waits_for_the_previous_outcome(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    stop = scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    # The run ignores the outcome of another client's command and the hangup of another channel.
    scene.channels.say("AsyncAGIExec", "1.1", "CommandId: theirs", "Result: 200%20result%3D0%0A")
    scene.channels.say("Hangup", "9.9", "Cause: 16")
    await EventLog(scene.url).until(lambda names: "Hangup" in names)
    scene.channels.enter("2.2", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands("2.2"))
    assert scene.commands() == list(COMMANDS[:2])
    scene.channels.unfinished.clear()
    scene.channels.ids[COMMANDS[1]] = scene.ami.actions_named("AGI")[1]["CommandID"]
    scene.channels.finish("1.1", COMMANDS[1])
    await scene.wait_ended()
    assert scene.commands() == [*COMMANDS, BREAK]
    assert scene.commands("2.2") == list(COMMANDS[:2])
    assert not stop.is_set()


@pytest.mark.parametrize(
    ("argument", "how"), [(OTHER, "unknown master"), (MASTER, "finished"), (MASTER.upper(), "finished")]
)
async def test_a_channel_without_commands_gets_a_break(scene: Scene, argument: str, how: str) -> None:
    await scene.create_master(MASTER, None, "  ", BREAK.lower(), "NOOP after the end")
    scene.start()
    scene.channels.enter("1.1", argument)
    (end,) = await scene.wait_ended()
    assert end["how"] == how
    assert scene.commands() == [BREAK]


async def test_channels_of_other_async_agi_scripts_are_ignored(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.start()
    scene.channels.enter("1.1")
    scene.channels.enter("1.2", "their-script", MASTER)
    scene.channels.enter("1.3", "their-script", caller=f"x\nagi_arg_1: {MASTER}")
    scene.channels.enter("1.4", MASTER)
    await scene.wait_ended()
    assert {unique_id for unique_id, _ in scene.channels.commands} == {"1.4"}


@pytest.mark.parametrize(
    "result",
    [
        "200 result=-1",
        "200 result=-2",
        "510 Invalid or unknown command",
        "520-Invalid command syntax.  Proper usage follows:\nUsage: SAY DIGITS\n520 End of proper usage.",
        "",
    ],
)
@pytest.mark.usefixtures("quick")
async def test_a_command_that_fails_ends_the_run(scene: Scene, result: str) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.results[COMMANDS[1]] = result
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    (failed,) = await scene.run_events("AgiStepFailed")
    assert (failed["step"], failed["message"]) == (2, result or "no result")
    assert (end["how"], end["message"]) == ("error", f"{COMMANDS[1]}: {result or 'no result'}")
    assert scene.commands() == [*COMMANDS[:2], BREAK]


async def test_no_break_follows_a_command_that_ends_agi(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.channels.finish("1.1", "ANSWER", "200 result=-1")
    await EventLog(scene.url).until(lambda names: "AgiStepFailed" in names)
    scene.channels.say("AsyncAGIEnd", "1.1")
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("error", "ANSWER: 200 result=-1")
    assert scene.commands() == ["ANSWER"]


@pytest.mark.usefixtures("quick")
async def test_a_denied_command_ends_the_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.refused = dict.fromkeys([*COMMANDS, BREAK], "Permission denied")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("error", "ANSWER: Permission denied")
    assert len(scene.ami.actions_named("AGI")) == 2


async def test_no_command_is_sent_after_a_hangup(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    scene.channels.hang_up("1.1", COMMANDS[1])
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("hangup", f"{COMMANDS[1]}: 200 result=-1")
    assert scene.commands() == list(COMMANDS[:2])


async def test_an_earlier_hangup_starts_no_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)
    scene.channels.hang_up("1.1")
    await EventLog(scene.url).until(lambda names: "Hangup" in names)
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.wait_ended()
    assert {e["unique_id"] for e in await scene.run_events("AgiRunStarted")} == {"1.2"}
    assert scene.commands("1.1") == []


async def test_a_refused_command_reveals_a_missed_hangup(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.refused[COMMANDS[1]] = "Channel 1.1 does not exist."
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    assert end["how"] == "hangup"
    assert len(scene.ami.actions_named("AGI")) == 2


@pytest.mark.usefixtures("quick")
async def test_a_run_ends_if_its_channel_leaves_agi(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.channels.say("AsyncAGIEnd", "1.1")
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("interrupted", "the channel was taken out of AGI")
    assert scene.commands() == ["ANSWER"]


async def test_a_channel_that_returns_starts_another_run(scene: Scene) -> None:
    await scene.create_master(MASTER, "NOOP")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.wait_ended()
    scene.channels.enter("1.1", MASTER)
    first, second = await scene.wait_ended(2)
    assert (first["how"], second["how"]) == ("finished", "finished")
    assert first["id"] != second["id"]
    assert scene.commands() == ["NOOP", BREAK, "NOOP", BREAK]


def has_four_commands(scene: Scene) -> bool:
    return len(scene.channels.commands) == 4


async def test_runs_and_acts_run_concurrently(url: str) -> None:
    async with scenes(url, "one", "two") as (one, two):
        await one.create_master(MASTER, "ANSWER", "EXEC Queue sales")
        for scene in (one, two):
            scene.channels.unfinished.add("EXEC Queue sales")
            scene.ami.replies["Hangup"] = lambda action: block("Response: Success", f"ActionID: {action['ActionID']}")
            scene.start()
            for unique_id in ("1.1", "1.2"):
                scene.channels.enter(unique_id, MASTER)
        for scene in (one, two):
            await eventually(partial(has_four_commands, scene))
        await one.write(ActRequested("act", builtins(ChannelHangup("PJSIP/9"))), pbx="one")
        await notify_commander(one.connection, "one")
        await eventually(lambda: one.ami.actions_named("Hangup"))
        two.channels.hang_up("1.2")
        (end,) = await two.wait_ended()
        assert end["how"] == "hangup"
        started = {e["id"]: e for e in await one.run_events("AgiRunStarted")}
        assert started[end["id"]]["unique_id"] == "1.2"
        assert two.ami.actions_named("Hangup") == []


async def test_a_run_keeps_the_commands_of_its_start(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    await scene.wait_folded(
        await scene.write(
            AdpChanged(f"{MASTER}/2", MASTER, 20, "changed", command="NOOP changed"), AdpmaDeleted(MASTER)
        )
    )
    scene.channels.finish("1.1", "ANSWER")
    await scene.wait_ended()
    assert scene.commands() == [*COMMANDS, BREAK]
    scene.channels.enter("1.2", MASTER)
    _, second = await scene.wait_ended(2)
    assert second["how"] == "unknown master"


async def test_deleted_commands_are_not_sent(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    await scene.wait_folded(await scene.write(AdpDeleted(f"{MASTER}/2")))
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.wait_ended()
    assert scene.commands() == [COMMANDS[0], COMMANDS[2], BREAK]
