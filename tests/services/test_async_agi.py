"""Async dialplans over a real log and a scripted PBX: each command once, in order, and an end to every run."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest

from projections.agi_runs import AGI_RUNS
from schemas.acts import ActRequested, builtins
from schemas.acts.channel import ChannelHangup
from schemas.adps import AdpChanged, AdpCreated, AdpDeleted, AdpmaCreated, AdpmaDeleted
from schemas.agi import AgiBreakSent, AgiRunEnded, AgiRunStarted, AgiStep, AgiStepDone, AgiStepFailed, AgiStepSent
from schemas.log import Ours, Received
from services import database, log
from services.async_agi import drive
from services.async_agi.unfinished import OLDEST_SECONDS, unfinished
from services.commander import Commander
from services.project import project
from services.projector import Projector
from services.waking import wake_commander
from tests.e2e.waiting import present, until
from tests.services.fake_ami import Cable, FakeAmi, Ledger, block, eventually, listening
from tests.services.fake_channels import BREAK, FakeChannels, environment

MASTER = "1d47735d-2265-463c-908a-d37dea085c21"
OTHER = "2d47735d-2265-463c-908a-d37dea085c22"
COMMANDS = ("ANSWER", "SAY DIGITS 42 #", "SET VARIABLE GREETED yes")
OURS = "SELECT name, raw FROM ledger.event WHERE source = 'ringledger' AND name LIKE 'Agi%' ORDER BY position"


async def write(connection: asyncpg.Connection, *events: Ours, pbx: str = "", recorded: float = 0.0) -> int:
    now = recorded or time.time()
    said = [Received("ringledger", type(event).__name__, now, now, msgspec.json.encode(event)) for event in events]
    return await log.append(connection, pbx, time.time_ns(), 1, said)


class Scene:
    """A PBX that is listened to, its channels, the log, and commanders to start and kill."""

    def __init__(self, url: str, ami: FakeAmi, connection: asyncpg.Connection, name: str = "pbx") -> None:
        self.url, self.ami, self.connection, self.name = url, ami, connection, name
        self.channels = FakeChannels(ami)
        self.commander: asyncio.Task[None] | None = None

    async def write(self, *events: Ours, pbx: str = "", recorded: float = 0.0) -> int:
        return await write(self.connection, *events, pbx=pbx, recorded=recorded)

    async def master(self, uuid: str, *commands: str | None) -> None:
        """Make a master with these commands, and wait until it is folded."""
        steps = [
            # Sequences fall while the commands are made: their order is that of the sequence, not of the making.
            AdpCreated(f"{uuid}/{number}", uuid, 10 * number, f"step {number}", command=command)
            for number, command in reversed(list(enumerate(commands, 1)))
        ]
        await self.folded(await self.write(AdpmaCreated(uuid, "master"), *steps))

    async def folded(self, position: int) -> None:
        async def reached() -> bool:
            query = "SELECT min(position) FROM ledger.checkpoint WHERE model IN ('adpmas', 'adps', 'agi_runs')"
            return (await self.connection.fetchval(query) or 0) >= position

        await until(reached, f"{position} is folded")

    def start(self, at: str = "") -> asyncio.Event:
        stop = asyncio.Event()
        self.commander = asyncio.create_task(Commander(self.ami.pbx(self.name), at or self.url).run(stop))
        return stop

    async def kill(self) -> None:
        assert self.commander is not None
        self.commander.cancel()
        await asyncio.wait([self.commander])

    async def told(self, name: str = "") -> list[dict[str, Any]]:
        """Return our events of runs, or those of one name."""
        rows = await self.connection.fetch(OURS)
        return [msgspec.json.decode(raw) for event, raw in rows if not name or event == name]

    async def ended(self, number: int = 1) -> list[dict[str, Any]]:
        """Wait until so many runs have ended, and return their ends."""

        async def there() -> list[dict[str, Any]] | None:
            ends = await self.told("AgiRunEnded")
            return ends if len(ends) >= number else None

        return await present(there, f"{number} runs have ended")

    def commands(self, unique_id: str = "1.1") -> list[str]:
        return [command for told, command in self.channels.told if told == unique_id]


@asynccontextmanager
async def scenes(url: str, *names: str) -> AsyncIterator[list[Scene]]:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        connection = await database.connect(url, search_path="model, ledger")
        amis = [await stack.enter_async_context(FakeAmi()) for _ in names]
        await stack.enter_async_context(listening(url, *(ami.pbx(name) for ami, name in zip(amis, names, strict=True))))
        projecting = asyncio.create_task(project(url, stop))
        made = [Scene(url, ami, connection, name) for ami, name in zip(amis, names, strict=True)]
        await eventually(lambda: all(ami.clients for ami in amis))
        yield made
        for scene in made:
            if scene.commander is not None and not scene.commander.done():
                await scene.kill()
        stop.set()
        await projecting
        await connection.close()


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Scene]:
    async with scenes(url, "pbx") as (one,):
        yield one


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules, in a hundredth of the time."""
    monkeypatch.setattr(drive, "DOUBT_SECONDS", 0.3)
    monkeypatch.setattr(drive, "SETTLE_SECONDS", 0.2)


async def test_a_channel_is_driven_through_the_commands_in_order(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.results["SET VARIABLE GREETED yes"] = "200 result=1"
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("finished", "")
    assert scene.commands() == [*COMMANDS, BREAK]
    events = await scene.told()
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
    asked = scene.ami.asked("AGI")
    assert [a["CommandID"] for a in asked] == [f"{run}/1", f"{run}/2", f"{run}/3", f"{run}/break"]
    assert {a["Channel"] for a in asked} == {"1.1"}, "the unique id, which no other call will ever have"


async def test_the_run_is_told_of_by_a_read_model(scene: Scene) -> None:
    await scene.master(MASTER, "ANSWER", "WAIT")
    scene.channels.results["WAIT"] = "510 Invalid or unknown command"
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.ended()
    await scene.folded(await log.head(scene.connection))
    (row,) = await scene.connection.fetch("SELECT * FROM agi_runs")
    assert (row["pbx"], row["channel"], row["unique_id"], row["master"]) == ("pbx", "PJSIP/1.1", "1.1", MASTER)
    assert (row["state"], row["steps"], row["step"], row["outcome"]) == ("error", 2, 2, "failed")
    assert row["message"] == "WAIT: 510 Invalid or unknown command"
    assert row["started"] <= row["ended"]


async def test_the_next_command_waits_for_the_outcome_of_the_last(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add(COMMANDS[1])
    stop = scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    # An outcome of somebody else's command, and another channel's hangup, are not ours.
    scene.channels.say("AsyncAGIExec", "1.1", "CommandId: theirs", "Result: 200%20result%3D0%0A")
    scene.channels.say("Hangup", "9.9", "Cause: 16")
    await Ledger(scene.url).until(lambda names: "Hangup" in names)
    scene.channels.enter("2.2", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands("2.2"))
    assert scene.commands() == list(COMMANDS[:2])
    scene.channels.held.clear()
    scene.channels.ids[COMMANDS[1]] = scene.ami.asked("AGI")[1]["CommandID"]
    scene.channels.finish("1.1", COMMANDS[1])
    await scene.ended()
    assert scene.commands() == [*COMMANDS, BREAK]
    assert scene.commands("2.2") == list(COMMANDS[:2])
    assert not stop.is_set()


@pytest.mark.parametrize(
    ("argument", "how"), [(OTHER, "unknown master"), (MASTER, "finished"), (MASTER.upper(), "finished")]
)
async def test_who_has_no_commands_goes_on_at_once(scene: Scene, argument: str, how: str) -> None:
    await scene.master(MASTER, None, "  ", BREAK.lower(), "NOOP after the end")
    scene.start()
    scene.channels.enter("1.1", argument)
    (end,) = await scene.ended()
    assert end["how"] == how
    assert scene.commands() == [BREAK]


async def test_channels_of_somebody_elses_async_agi_are_left_alone(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.start()
    scene.channels.enter("1.1")
    scene.channels.enter("1.2", "their-script", MASTER)
    scene.channels.enter("1.3", "their-script", caller=f"x\nagi_arg_1: {MASTER}")
    scene.channels.enter("1.4", MASTER)
    await scene.ended()
    assert {unique_id for unique_id, _ in scene.channels.told} == {"1.4"}


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
    await scene.master(MASTER, *COMMANDS)
    scene.channels.results[COMMANDS[1]] = result
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.ended()
    (failed,) = await scene.told("AgiStepFailed")
    assert (failed["step"], failed["message"]) == (2, result or "no result")
    assert (end["how"], end["message"]) == ("error", f"{COMMANDS[1]}: {result or 'no result'}")
    assert scene.commands() == [*COMMANDS[:2], BREAK]


async def test_a_command_that_ends_agi_itself_is_not_followed_by_a_break(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.channels.finish("1.1", "ANSWER", "200 result=-1")
    await Ledger(scene.url).until(lambda names: "AgiStepFailed" in names)
    scene.channels.say("AsyncAGIEnd", "1.1")
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("error", "ANSWER: 200 result=-1")
    assert scene.commands() == ["ANSWER"]


@pytest.mark.usefixtures("quick")
async def test_an_ami_user_who_may_not(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.refused = dict.fromkeys([*COMMANDS, BREAK], "Permission denied")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("error", "ANSWER: Permission denied")
    assert len(scene.ami.asked("AGI")) == 2


async def test_a_hangup_ends_the_run_and_nothing_more_is_sent(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    scene.channels.hang_up("1.1", COMMANDS[1])
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("hangup", f"{COMMANDS[1]}: 200 result=-1")
    assert scene.commands() == list(COMMANDS[:2])


async def test_a_caller_who_hung_up_before_the_first_command(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)
    scene.channels.hang_up("1.1")
    await Ledger(scene.url).until(lambda names: "Hangup" in names)
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.ended()
    assert {e["unique_id"] for e in await scene.told("AgiRunStarted")} == {"1.2"}
    assert scene.commands("1.1") == []


async def test_a_hangup_that_nobody_heard_is_told_by_asterisk(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.refused[COMMANDS[1]] = "Channel 1.1 does not exist."
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.ended()
    assert end["how"] == "hangup"
    assert len(scene.ami.asked("AGI")) == 2


@pytest.mark.usefixtures("quick")
async def test_a_channel_that_is_taken_elsewhere(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.channels.say("AsyncAGIEnd", "1.1")
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("interrupted", "the channel was taken out of AGI")
    assert scene.commands() == ["ANSWER"]


async def test_a_channel_that_comes_again_is_another_run(scene: Scene) -> None:
    await scene.master(MASTER, "NOOP")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.ended()
    scene.channels.enter("1.1", MASTER)
    first, second = await scene.ended(2)
    assert (first["how"], second["how"]) == ("finished", "finished")
    assert first["id"] != second["id"]
    assert scene.commands() == ["NOOP", BREAK, "NOOP", BREAK]


def four(scene: Scene) -> bool:
    return len(scene.channels.told) == 4


async def test_runs_do_not_wait_for_each_other_and_neither_do_acts(url: str) -> None:
    async with scenes(url, "one", "two") as (one, two):
        await one.master(MASTER, "ANSWER", "EXEC Queue sales")
        for scene in (one, two):
            scene.channels.held.add("EXEC Queue sales")
            scene.ami.replies["Hangup"] = lambda asked: block("Response: Success", f"ActionID: {asked['ActionID']}")
            scene.start()
            for unique_id in ("1.1", "1.2"):
                scene.channels.enter(unique_id, MASTER)
        for scene in (one, two):
            await eventually(partial(four, scene))
        await one.write(ActRequested("act", builtins(ChannelHangup("PJSIP/9"))), pbx="one")
        await wake_commander(one.connection, "one")
        await eventually(lambda: one.ami.asked("Hangup"))
        two.channels.hang_up("1.2")
        (end,) = await two.ended()
        assert end["how"] == "hangup"
        started = {e["id"]: e for e in await one.told("AgiRunStarted")}
        assert started[end["id"]]["unique_id"] == "1.2"
        assert two.ami.asked("Hangup") == []


async def test_a_run_has_the_commands_of_its_beginning(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    await scene.folded(
        await scene.write(
            AdpChanged(f"{MASTER}/2", MASTER, 20, "changed", command="NOOP changed"), AdpmaDeleted(MASTER)
        )
    )
    scene.channels.finish("1.1", "ANSWER")
    await scene.ended()
    assert scene.commands() == [*COMMANDS, BREAK]
    scene.channels.enter("1.2", MASTER)
    _, second = await scene.ended(2)
    assert second["how"] == "unknown master"


async def test_deleted_commands_are_not_sent(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    await scene.folded(await scene.write(AdpDeleted(f"{MASTER}/2")))
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await scene.ended()
    assert scene.commands() == [COMMANDS[0], COMMANDS[2], BREAK]


async def test_a_commander_that_died_is_followed_by_one_that_goes_on(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.finish("1.1", COMMANDS[1], "200 result=35")
    await Ledger(scene.url).until(lambda names: names.count("AsyncAGIExec") == 2)
    scene.start()
    (end,) = await scene.ended()
    assert end["how"] == "finished"
    assert scene.commands() == [*COMMANDS, BREAK]
    assert [e["result"] for e in await scene.told("AgiStepDone")] == ["200 result=0", "200 result=35", "200 result=0"]
    assert len(await scene.told("AgiRunStarted")) == 1


@pytest.mark.usefixtures("quick")
async def test_a_command_without_outcome_after_a_death_is_not_sent_again(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.start()
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("interrupted", "nobody knows what became of command 2")
    assert scene.commands() == [*COMMANDS[:2], BREAK]


async def test_a_hangup_while_no_commander_ran(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.hang_up("1.1")
    await Ledger(scene.url).until(lambda names: "Hangup" in names)
    scene.start()
    assert (await scene.ended())[0]["how"] == "hangup"
    assert scene.commands() == list(COMMANDS[:2])


async def test_who_came_while_no_commander_ran_is_driven(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)
    await Ledger(scene.url).until(lambda names: "AsyncAGIStart" in names)
    scene.start()
    assert (await scene.ended())[0]["how"] == "finished"
    await scene.kill()
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.ended(2)
    assert scene.commands() == [*COMMANDS, BREAK], "an answered start is not answered again"


async def test_what_a_channel_did_before_the_run_counts_for_nothing(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.enter("1.1", MASTER)  # nobody drives it yet, and somebody takes it elsewhere
    scene.channels.say("AsyncAGIEnd", "1.1")
    await Ledger(scene.url).until(lambda names: "AsyncAGIEnd" in names)
    scene.channels.held.add(COMMANDS[1])
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: COMMANDS[1] in scene.commands())
    await scene.kill()
    scene.channels.finish("1.1", COMMANDS[1])
    scene.start()
    (end,) = await scene.ended()
    assert end["how"] == "finished"
    assert scene.commands() == [*COMMANDS, BREAK]


async def test_what_an_import_brings_is_not_driven(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    long_ago = time.time() - OLDEST_SECONDS - 5
    step = AgiStep("x", 1, "x", "ANSWER")
    scene.start()
    text = block("Event: AsyncAGIStart", "Uniqueid: 1.1", f"Env: {environment('1.1', (MASTER,))}")
    await log.append(scene.connection, "pbx", 1, 1, [Received("ami", "AsyncAGIStart", long_ago, long_ago, text)])
    await scene.write(AgiRunStarted("old", "PJSIP/1.2", "1.2", MASTER, 1, steps=(step,)), pbx="pbx", recorded=long_ago)
    await scene.kill()
    scene.start()
    scene.channels.enter("1.3", MASTER)
    await scene.ended()
    assert {unique_id for unique_id, _ in scene.channels.told} == {"1.3"}


async def test_who_came_long_ago_is_not_driven(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    # A run that is still open from before: the log is read from there on.
    step = AgiStep("x", 1, "x", "ANSWER")
    await scene.write(AgiRunStarted("open", "PJSIP/9.9", "9.9", MASTER, 1, steps=(step,)), pbx="pbx")
    scene.channels.enter("1.1", MASTER)
    await Ledger(scene.url).until(lambda names: "AsyncAGIStart" in names)
    # PostgreSQL's clock decides: the batches are made older than they are.
    for table in ("event SET recorded = recorded", "batch SET appended = appended"):
        await scene.connection.execute(f"UPDATE ledger.{table} - make_interval(secs => $1)", OLDEST_SECONDS + 5)
    scene.start()
    scene.channels.enter("1.2", MASTER)
    await scene.ended(2)
    assert {unique_id for unique_id, _ in scene.channels.told} == {"9.9", "1.2"}


@pytest.mark.usefixtures("quick")
async def test_a_link_that_is_lost_while_a_command_is_sent(scene: Scene) -> None:
    await scene.master(MASTER, "ANSWER", "NOOP")
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.ami.asked("AGI"))
    scene.ami.hangs_up_at.clear()
    # It had come there all the same.
    scene.channels.ids["ANSWER"] = scene.ami.asked("AGI")[0]["CommandID"]
    scene.channels.finish("1.1", "ANSWER")
    assert (await scene.ended())[0]["how"] == "finished"
    assert scene.commands() == ["NOOP", BREAK]


@pytest.mark.usefixtures("quick")
async def test_a_command_that_may_never_have_come_there(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.ami.asked("AGI"))
    scene.ami.hangs_up_at.clear()
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("interrupted", "nobody knows what became of command 1")
    assert scene.commands() == [BREAK]


@pytest.mark.usefixtures("quick")
async def test_an_outcome_that_fell_into_a_gap(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    scene.channels.held.add("ANSWER")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(lambda: scene.commands() == ["ANSWER"])
    scene.ami.cut()
    (end,) = await scene.ended()
    assert (end["how"], end["message"]) == ("interrupted", "nobody knows what became of command 1")
    assert scene.commands() == ["ANSWER", BREAK]


@pytest.mark.usefixtures("quick")
async def test_a_long_command_is_waited_for(scene: Scene) -> None:
    await scene.master(MASTER, "EXEC Queue sales")
    scene.channels.held.add("EXEC Queue sales")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    await eventually(scene.commands)
    first = dict(scene.channels.ids)
    scene.ami.hangs_up_at.add("AGI")
    scene.channels.enter("1.2", MASTER)
    await eventually(lambda: len(scene.ami.asked("AGI")) == 2)
    scene.ami.hangs_up_at.clear()
    (doubted,) = await scene.ended()  # of the one that came later nobody knows; the first was taken
    assert doubted["how"] == "interrupted"
    assert scene.commands() == ["EXEC Queue sales"]
    scene.channels.ids = first
    scene.channels.finish("1.1", "EXEC Queue sales")
    assert [end["how"] for end in await scene.ended(2)] == ["interrupted", "finished"]


@pytest.mark.usefixtures("quick")
async def test_a_break_that_was_lost_is_sent_a_second_time_and_no_more(scene: Scene) -> None:
    await scene.master(MASTER)
    scene.ami.hangs_up_at.add("AGI")
    scene.start()
    scene.channels.enter("1.1", MASTER)
    (end,) = await scene.ended()
    assert end["how"] == "interrupted"
    assert [asked["Command"] for asked in scene.ami.asked("AGI")] == [BREAK, BREAK]
    assert len(await scene.told("AgiBreakSent")) == 2


async def test_runs_outlive_a_lost_database(scene: Scene) -> None:
    await scene.master(MASTER, *COMMANDS)
    async with Cable.to_postgresql(scene.url) as cable:
        scene.channels.held.add(COMMANDS[1])
        scene.start(cable.url(scene.url))
        scene.channels.enter("1.1", MASTER)
        await eventually(lambda: COMMANDS[1] in scene.commands())
        cable.cut()
        scene.channels.finish("1.1", COMMANDS[1])
        assert (await scene.ended())[0]["how"] == "finished"
        await scene.kill()
    assert scene.commands() == [*COMMANDS, BREAK]


@pytest.mark.parametrize("folded", [False, True])
async def test_an_open_run_is_found_however_long_ago_it_began(url: str, *, folded: bool) -> None:
    connection = await database.connect(url, search_path="model, ledger")
    steps = tuple(AgiStep(str(n), n, f"step {n}", command) for n, command in enumerate(COMMANDS, 1))
    said: list[Ours] = [
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
    for event in said:
        await write(connection, event, pbx="pbx")
    await write(connection, said[2], pbx="other")
    for table in ("event SET recorded = recorded", "batch SET appended = appended"):
        await connection.execute(f"UPDATE ledger.{table} - interval '1 hour'")
    if folded:
        projector = Projector(connection, [AGI_RUNS])
        await projector.open()
        while await projector.advance():
            pass
    last = await write(connection, AgiRunEnded("new", "unknown master"), pbx="pbx")
    found = await unfinished(connection, "pbx")
    assert [(run.id, run.sent, run.done, run.failure, len(run.breaks)) for run in found.runs] == [
        ("open", 2, 1, "", 0),
        ("failed", 1, 0, "ANSWER: 200 result=-1", 1),
    ]
    assert all(run.doubtful is not None for run in found.runs)
    assert found.after == 6 < last, "what came of the command of `open` may stand anywhere after it was sent"
    await connection.close()
