"""Async dialplans at a real Asterisk: a call is driven through a master's commands, whatever happens meanwhile."""

from typing import Any

import msgspec

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import second_leg, transfer
from tests.support.polling import present

OURS = "SELECT raw FROM event WHERE source = 'ringledger' AND name LIKE 'Agi%' AND position > $1 ORDER BY position"
RAW_EVENTS = (
    "SELECT raw FROM event WHERE source = 'ami' AND name = $1 AND raw LIKE $2 AND position > $3 ORDER BY position"
)


class Story:
    """The events of the log from here on."""

    def __init__(self, ledger: Ledger, since: int) -> None:
        self.ledger, self.since = ledger, since

    async def ours(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events of the runs that have started since."""
        rows = [msgspec.json.decode(row["raw"]) for row in await self.ledger.rows(OURS, self.since)]
        started = {row["id"] for row in rows if row["type"] == "AgiRunStarted"}
        return [row for row in rows if row["id"] in started and (not name or row["type"] == name)]

    async def logged(self, name: str, like: str = "") -> list[bytes]:
        return [row["raw"] for row in await self.ledger.rows(RAW_EVENTS, name, f"%{like}%".encode(), self.since)]

    async def until_logged(self, name: str, like: str = "", number: int = 1) -> list[bytes]:
        async def there() -> list[bytes] | None:
            events = await self.logged(name, like)
            return events if len(events) >= number else None

        return await present(there, f"{name} {like} is in the log {number} times")

    async def ended(self, number: int = 1) -> list[dict[str, Any]]:
        async def there() -> list[dict[str, Any]] | None:
            ends = await self.ours("AgiRunEnded")
            return ends if len(ends) >= number else None

        return await present(there, f"{number} runs have ended")


async def story(ledger: Ledger, asterisk: Asterisk) -> Story:
    return Story(ledger, await ledger.caught_up(asterisk))


async def post(ledger: Ledger, path: str, **body: Any) -> str:
    async with ledger.client.post(f"/v1/admin/dialplan/{path}", json=body) as reply:
        assert reply.status == 200, await reply.text()
        return reply.headers["Location"].rpartition("/")[2]


async def master(ledger: Ledger, *commands: str) -> str:
    made = await post(ledger, "adpmas", name="story")
    for sequence, command in enumerate(commands, 1):
        await post(ledger, "adps", name=command[:20], dpma_uuid=made, sequence=sequence, command=command)
    return made


async def channel_of(story: Story) -> str:
    """Return the name of the channel of the only run."""
    (started,) = await story.ours("AgiRunStarted")
    name: str = started["channel"]
    return name


async def test_a_driven_call_continues_in_the_dialplan(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(
        ledger, "ANSWER", 'SAY DIGITS 42 ""', 'SET VARIABLE GREETED "äh yes"', "EXEC Wait 0.3", "GET VARIABLE GREETED"
    )
    call = await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    (end,) = await at.ended()
    assert (end["how"], end["message"]) == ("finished", "")
    results = [done["result"] for done in await at.ours("AgiStepDone")]
    assert results == ["200 result=0", "200 result=0", "200 result=1", "200 result=0", "200 result=1 (äh yes)"]
    (left,) = await at.until_logged("UserEvent", "AdpLeft")
    assert "Status: SUCCESS\r\nGreeted: äh yes\r\n".encode() in left
    shown = "\n".join(await asterisk.cli(f"core show channel {await channel_of(at)}"))
    assert "GREETED=äh yes" in shown
    assert "Application: Wait" in shown
    assert not call.ended.is_set()
    await call.hang_up()


async def test_an_unknown_master_and_one_without_commands(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    phone = await asterisk.phone("100")
    for uuid in ("1d47735d-2265-463c-908a-d37dea085c21", await master(ledger)):
        phone.call(f"adp-{uuid}")
    ends = await at.ended(2)
    assert sorted(end["how"] for end in ends) == ["finished", "unknown master"]
    await at.until_logged("UserEvent", "AdpLeft", 2)


async def test_an_unknown_command_fails(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "PLAY TRUMPET", "SET VARIABLE GREETED no")
    await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    (end,) = await at.ended()
    assert end["how"] == "error"
    assert end["message"].startswith("PLAY TRUMPET: 510 Invalid or unknown command")
    (left,) = await at.until_logged("UserEvent", "AdpLeft")
    assert b"Greeted: no" not in left


async def test_a_command_that_ends_agi_by_failing(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "EXEC NoSuchApplication", "SET VARIABLE GREETED no")
    await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    (end,) = await at.ended()
    assert (end["how"], end["message"]) == ("error", "EXEC NoSuchApplication: 200 result=-2")


async def test_the_caller_hangs_up_in_the_middle(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "EXEC Wait 30", "SET VARIABLE GREETED no")
    call = await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    await at.until_logged("AGIExecStart", "Command: EXEC Wait 30")
    await call.hang_up()
    (end,) = await at.ended()
    assert end["how"] == "hangup"
    await at.until_logged("Hangup")
    assert [sent["step"] for sent in await at.ours("AgiStepSent")] == [1, 2]
    assert await at.ours("AgiBreakSent") == []


async def test_a_hangup_ends_the_run(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "EXEC Wait 30", "SET VARIABLE GREETED no")
    await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    await at.until_logged("AGIExecStart", "Command: EXEC Wait 30")
    await asterisk.ami.act("Hangup", Channel=await channel_of(at))
    assert (await at.ended())[0]["how"] == "hangup"


async def test_a_redirect_ends_the_run(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "SET VARIABLE GREETED no")
    other = await master(ledger, "ANSWER", "EXEC Wait 30", "SET VARIABLE GREETED no")
    await (await asterisk.phone("100")).call(f"adp-{other}").up()
    await at.until_logged("AGIExecStart", "Command: EXEC Wait 30")
    channel = await channel_of(at)
    await asterisk.ami.act("Redirect", Channel=channel, Context="internal", Exten=f"adp-{uuid}", Priority="1")
    ends = {end["id"]: (end["how"], end["message"]) for end in await at.ended(2)}
    first, second = [ends[started["id"]] for started in await at.ours("AgiRunStarted")]
    # Asterisk reports only that the command failed. No event has the reason that the channel continues elsewhere.
    assert (first, second) == (("error", "EXEC Wait 30: 200 result=-1"), ("finished", ""))
    assert len(await at.ours("AgiStepSent")) == 4


async def test_two_calls_at_once(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "EXEC Wait 1", "SET VARIABLE GREETED yes")
    for user in ("100", "101"):
        await (await asterisk.phone(user)).call(f"adp-{uuid}").up()
    ends = await at.ended(2)
    assert [end["how"] for end in ends] == ["finished", "finished"]
    events = await at.ours()
    first_end = next(n for n, e in enumerate(events) if e["type"] == "AgiRunEnded")
    assert len({e["id"] for e in events[:first_end]}) == 2, "the one did not wait for the other"
    await at.until_logged("UserEvent", "Greeted: yes", 2)


async def test_the_commander_dies_and_another_goes_on(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    steps = [step for n in range(1, 4) for step in (f"EXEC UserEvent AdpStep,Number:{n}", "EXEC Wait 1")]
    uuid = await master(ledger, "ANSWER", *steps)
    await (await asterisk.phone("100")).call(f"adp-{uuid}").up()
    for time, step in ((1, 3), (2, 5)):
        await at.until_logged("AGIExecStart", "Command: EXEC Wait 1", time)
        await ledger.kill_commander()
        if step == 5:  # the command's result is sent while no listener is connected
            await at.until_logged("AsyncAGIExec", f"/{step}\r\n")
        ledger.start_commander()
    (end,) = await at.ended()
    assert end["how"] == "finished"
    for number in range(1, 4):
        assert len(await at.logged("UserEvent", f"Number: {number}")) == 1
    assert [sent["step"] for sent in await at.ours("AgiStepSent")] == list(range(1, 8))
    assert len(await at.logged("AsyncAGIStart")) == 1


async def test_a_call_that_came_while_no_commander_ran(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "SET VARIABLE GREETED late")
    await ledger.kill_commander()
    call = (await asterisk.phone("100")).call(f"adp-{uuid}")
    await at.until_logged("AsyncAGIStart")
    ledger.start_commander()
    await call.up()
    assert (await at.ended())[0]["how"] == "finished"
    await at.until_logged("UserEvent", "Greeted: late")


async def test_a_run_goes_on_with_the_transferred_caller(ledger: Ledger, asterisk: Asterisk) -> None:
    at = await story(ledger, asterisk)
    uuid = await master(ledger, "ANSWER", "EXEC Wait 3", "SET VARIABLE GREETED yes")
    caller, leg, second = await second_leg(asterisk, f"adp-{uuid}")
    await at.until_logged("AGIExecStart", "Command: EXEC Wait 3")
    await transfer(leg, second)
    (end,) = await at.ended()
    assert (end["how"], end["message"]) == ("finished", "")
    (left,) = await at.until_logged("UserEvent", "AdpLeft")
    assert b"Channel: PJSIP/105-" in left
    assert b"Greeted: yes\r\n" in left
    (row,) = await ledger.rows("SELECT channel FROM agi_runs WHERE master = $1", uuid)
    assert row["channel"].startswith("PJSIP/105-")
    await caller.hang_up()
