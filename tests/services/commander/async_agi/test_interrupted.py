"""Async dialplans with dead commanders, lost links and late events: no command is sent twice, and every run ends."""

import time

import pytest

from projections.dialplans.agi_runs import AGI_RUNS
from schemas.agi import AgiBreakSent, AgiRunEnded, AgiRunStarted, AgiStep, AgiStepDone, AgiStepFailed, AgiStepSent
from schemas.log import NewEvent, RingledgerEvent
from services.commander.async_agi.recovery import MAX_AGE_SECONDS, read_open_runs
from services.database.connection import connect
from services.log.append import append_events
from services.log.read import head_position
from services.projector.projector import Projector
from tests.support.async_agi import COMMANDS, MASTER, Scene, write
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import block
from tests.support.fake_channels import BREAK, environment
from tests.support.polling import eventually


async def test_the_next_commander_continues_a_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.finish("1.1", COMMANDS[1], "200 result=35")
    await EventLog(scene.url).until(lambda names: names.count("AsyncAGIExec") >= 2)
    scene.start()
    (end,) = await scene.wait_ended()
    assert end["how"] == "finished"
    assert scene.commands() == [*COMMANDS, BREAK]
    assert [e["result"] for e in await scene.run_events("AgiStepDone")] == [
        "200 result=0",
        "200 result=35",
        "200 result=0",
    ]
    assert len(await scene.run_events("AgiRunStarted")) == 1


@pytest.mark.usefixtures("quick")
async def test_an_unconfirmed_command_is_not_sent_again(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.start()
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("interrupted", "the outcome of command 2 is unknown")
    assert scene.commands() == [*COMMANDS[:2], BREAK]


async def test_a_hangup_without_a_commander_ends_the_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.hang_up("1.1")
    await EventLog(scene.url).until(lambda names: "Hangup" in names)
    scene.start()
    assert (await scene.wait_ended())[0]["how"] == "hangup"
    assert scene.commands() == list(COMMANDS[:2])


@pytest.mark.parametrize("is_killed", [False, True], ids=["commander-runs", "commander-restarts"])
async def test_a_run_follows_the_channel_that_replaces_another(scene: Scene, *, is_killed: bool) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    if is_killed:
        await scene.kill()
    scene.channels.transfer("1.1", "7.7")
    scene.channels.finish("7.7", COMMANDS[1])
    await EventLog(scene.url).until(lambda names: names.count("AsyncAGIExec") >= 2)
    if is_killed:
        await scene.wait_folded(await head_position(scene.connection))
        scene.start()
    (end,) = await scene.wait_ended()
    assert end["how"] == "finished"
    assert scene.commands() == list(COMMANDS[:2])
    assert scene.commands("7.7") == [COMMANDS[2], BREAK]
    await scene.wait_folded(await head_position(scene.connection))
    (row,) = await scene.connection.fetch("SELECT channel, unique_id FROM agi_runs")
    assert tuple(row) == ("PJSIP/7.7", "7.7")


async def test_a_channel_from_before_the_commander_is_driven(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)
    await EventLog(scene.url).until(lambda names: "AsyncAGIStart" in names)
    scene.start()
    assert (await scene.wait_ended())[0]["how"] == "finished"
    await scene.kill()
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.wait_ended(2)
    assert scene.commands() == [*COMMANDS, BREAK], "a handled start is not handled again"


async def test_events_before_the_run_are_ignored(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)  # no commander runs, and another dialplan takes the channel
    scene.channels.say("AsyncAGIEnd", "1.1")
    await EventLog(scene.url).until(lambda names: "AsyncAGIEnd" in names)
    scene.channels.unfinished.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.finish("1.1", COMMANDS[1])
    scene.start()
    (end,) = await scene.wait_ended()
    assert end["how"] == "finished"
    assert scene.commands() == [*COMMANDS, BREAK]


async def test_an_imported_channel_is_not_driven(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    long_ago = time.time() - MAX_AGE_SECONDS - 5
    step = AgiStep("x", 1, "x", "ANSWER")
    scene.start()
    text = block("Event: AsyncAGIStart", "Uniqueid: 1.1", f"Env: {environment('1.1', (MASTER,))}")
    await append_events(scene.connection, "pbx", 1, 1, [NewEvent("ami", "AsyncAGIStart", long_ago, long_ago, text)])
    await scene.write(AgiRunStarted("old", "PJSIP/1.2", "1.2", MASTER, 1, steps=(step,)), pbx="pbx", recorded=long_ago)
    await scene.kill()
    scene.start()
    scene.channels.enter("1.3", MASTER)
    await scene.wait_ended()
    assert {unique_id for unique_id, _ in scene.channels.commands} == {"1.3"}


async def test_a_channel_is_driven_despite_a_clock_jump(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    await scene.connection.execute("UPDATE ledger.head SET appended = clock_timestamp() + interval '1 hour'")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    assert (end["how"], scene.commands()) == ("finished", [*COMMANDS, BREAK])


async def test_a_channel_from_long_ago_is_not_driven(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    # An earlier run is still open, so the commander reads the log from there.
    step = AgiStep("x", 1, "x", "ANSWER")
    await scene.write(AgiRunStarted("open", "PJSIP/9.9", "9.9", MASTER, 1, steps=(step,)), pbx="pbx")
    scene.channels.enter("1.1", MASTER)
    await EventLog(scene.url).until(lambda names: "AsyncAGIStart" in names)
    # PostgreSQL's clock decides, so the test backdates the batches.
    for table in ("event SET recorded = recorded", "batch SET appended = appended"):
        await scene.connection.execute(f"UPDATE ledger.{table} - make_interval(secs => $1)", MAX_AGE_SECONDS + 5)
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.wait_ended(2)
    assert {unique_id for unique_id, _ in scene.channels.commands} == {"9.9", "1.2"}


@pytest.mark.usefixtures("quick")
async def test_a_run_survives_a_lost_link(scene: Scene) -> None:
    await scene.create_master(MASTER, "ANSWER", "NOOP")
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.ami.actions_named("AGI"))
    scene.ami.hangs_up_at.clear()
    # Asterisk had received the command.
    scene.channels.ids["ANSWER"] = scene.ami.actions_named("AGI")[0]["CommandID"]
    scene.channels.finish("1.1", "ANSWER")
    assert (await scene.wait_ended())[0]["how"] == "finished"
    assert scene.commands() == ["NOOP", BREAK]


@pytest.mark.usefixtures("quick")
async def test_a_possibly_lost_command_interrupts_the_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.ami.actions_named("AGI"))
    scene.ami.hangs_up_at.clear()
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("interrupted", "the outcome of command 1 is unknown")
    assert scene.commands() == [BREAK]


@pytest.mark.usefixtures("quick")
async def test_an_outcome_in_a_gap_interrupts_the_run(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    scene.channels.unfinished.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.ami.cut()
    (end,) = await scene.wait_ended()
    assert (end["how"], end["message"]) == ("interrupted", "the outcome of command 1 is unknown")
    assert scene.commands() == ["ANSWER", BREAK]


@pytest.mark.usefixtures("quick")
async def test_a_run_waits_for_a_long_command(scene: Scene) -> None:
    await scene.create_master(MASTER, "EXEC Queue sales")
    scene.channels.unfinished.add("EXEC Queue sales")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(scene.commands)
    first = dict(scene.channels.ids)
    scene.ami.hangs_up_at.add("AGI")
    scene.channels.enter("1.2", MASTER)
    await eventually(lambda: len(scene.ami.actions_named("AGI")) >= 2)
    scene.ami.hangs_up_at.clear()
    (interrupted,) = await scene.wait_ended()  # the second command may be lost; Asterisk confirmed the first
    assert interrupted["how"] == "interrupted"
    assert scene.commands() == ["EXEC Queue sales"]
    scene.channels.ids = first
    scene.channels.finish("1.1", "EXEC Queue sales")
    assert [end["how"] for end in await scene.wait_ended(2)] == ["interrupted", "finished"]


@pytest.mark.usefixtures("quick")
async def test_a_lost_break_is_sent_once_more(scene: Scene) -> None:
    await scene.create_master(MASTER)
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.wait_ended()
    assert end["how"] == "interrupted"
    assert [action["Command"] for action in scene.ami.actions_named("AGI")] == [BREAK, BREAK]
    assert len(await scene.run_events("AgiBreakSent")) == 2


async def test_a_run_survives_a_database_outage(scene: Scene) -> None:
    await scene.create_master(MASTER, *COMMANDS)
    async with Cable.to_postgresql(scene.url) as cable:
        scene.channels.unfinished.add(COMMANDS[1])
        scene.start(cable.url(scene.url))
        scene.channels.enter("1.1", MASTER)
        await eventually(lambda: COMMANDS[1] in scene.commands())
        cable.cut()
        scene.channels.finish("1.1", COMMANDS[1])
        assert (await scene.wait_ended())[0]["how"] == "finished"
        await scene.kill()
    assert scene.commands() == [*COMMANDS, BREAK]


@pytest.mark.parametrize("is_folded", [False, True])
async def test_an_open_run_is_read_at_any_age(url: str, *, is_folded: bool) -> None:
    connection = await connect(url, search_path="model, ledger")
    steps = tuple(AgiStep(str(n), n, f"step {n}", command) for n, command in enumerate(COMMANDS, 1))
    events: list[RingledgerEvent] = [
        AgiRunStarted("over", "PJSIP/1", "1.0", MASTER, 1, steps=steps),
        AgiRunEnded("over", "finished"),
        AgiRunStarted("open", "PJSIP/2", "1.1", MASTER, 2, steps=steps),
        AgiStepSent("open", 1, "ANSWER"),
        AgiStepDone("open", 1, "200 result=0"),
        AgiStepSent("open", 2, COMMANDS[1]),
        AgiRunStarted("failed", "PJSIP/3", "1.2", MASTER, 3, steps=steps),
        AgiStepSent("failed", 1, "ANSWER"),
        AgiStepFailed("failed", 1, "200 result=-1"),
        AgiBreakSent("failed", "error", "ANSWER: 200 result=-1"),
        AgiRunStarted("new", "PJSIP/4", "1.3", MASTER, 4, known=False),
    ]
    for event in events:
        await write(connection, event, pbx="pbx")
    await write(connection, events[2], pbx="other")
    for table in ("event SET recorded = recorded", "batch SET appended = appended"):
        await connection.execute(f"UPDATE ledger.{table} - interval '1 hour'")
    if is_folded:
        projector = Projector(connection, [AGI_RUNS])
        await projector.open()
        while await projector.advance():
            pass
    last = await write(connection, AgiRunEnded("new", "unknown master"), pbx="pbx")
    open_runs = await read_open_runs(connection, "pbx")
    assert [(run.id, run.sent, run.done, run.failure, len(run.breaks)) for run in open_runs.runs] == [
        ("open", 2, 1, "", 0),
        ("failed", 1, 0, "ANSWER: 200 result=-1", 1),
    ]
    assert all(run.doubtful_since is not None for run in open_runs.runs)
    assert open_runs.after == 6 < last, "the outcome of the command of `open` may be anywhere after it was sent"
    await connection.close()
