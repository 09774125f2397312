"""The commander over a real log and a scripted PBX: each act once, in order, and never after its time limit."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.acts import ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown, builtins
from schemas.acts.channel import ChannelHangup
from schemas.log import NewEvent
from services.commander import executor, term_log
from services.commander.commander import Commander
from services.commander.executor import MAX_APPEND_LAG_SECONDS
from services.commander.sent_acts import SentActs
from services.commander.term import CommanderTerm
from services.database.locks import Lock
from services.database.notify import notify_commander
from services.log.append import append_events
from tests.support.cable import Cable
from tests.support.commander import act_events, append_event, commander_task, request_hangup, wait_outcome
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import eventually
from tests.support.restoring import rewind


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as fake:
        fake.replies["Hangup"] = lambda action: block("Response: Success", f"ActionID: {action['ActionID']}")
        yield fake


async def event_names(connection: asyncpg.Connection) -> list[str]:
    return [name for name, _ in await act_events(connection)]


async def test_requests_are_done_once_and_in_order(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commander_task(ami, url):
        for name in ("a", "b", "c"):
            await request_hangup(connection, name)
        assert (await wait_outcome(connection, "c"))["type"] == "ActSucceeded"
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]
    assert [e["id"] for name, e in await act_events(connection) if name == "ActSent"] == ["a", "b", "c"]
    assert (await event_names(connection))[-3:] == ["ActSucceeded", "ActSent", "ActSucceeded"]


async def test_the_session_of_a_commander_receives_no_events(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        await wait_outcome(connection, "a")
    assert [action["Events"] for action in ami.actions_named("Login")] == ["off"]


async def test_a_failed_act_has_the_message_of_asterisk(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    words = {"PJSIP/gone": "No such channel", "PJSIP/mine": "Permission denied"}
    ami.replies["Hangup"] = lambda action: block(
        "Response: Error", f"ActionID: {action['ActionID']}", f"Message: {words[action['Channel']]}"
    )
    async with commander_task(ami, url):
        await request_hangup(connection, "gone")
        await request_hangup(connection, "mine")
        gone, mine = await wait_outcome(connection, "gone"), await wait_outcome(connection, "mine")
    assert (gone["type"], gone["reason"], gone["message"]) == ("ActFailed", "absent", "No such channel")
    assert (mine["reason"], mine["message"]) == ("refused", "Permission denied")


async def test_an_unanswered_act_is_not_sent_again(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    ami.hangs_up_at.add("Hangup")
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActUnknown"
        ami.hangs_up_at.clear()
        await eventually(lambda: ami.logins >= 2)
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b"]


async def test_an_act_is_unknown_if_its_commander_dies(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    ami.replies["Hangup"] = lambda _: b""
    first = asyncio.create_task(Commander(ami.pbx(), url).run(asyncio.Event()))
    await request_hangup(connection, "a")
    await eventually(lambda: ami.actions_named("Hangup"))
    first.cancel()
    await asyncio.wait([first])
    async with commander_task(ami, url):
        assert (await wait_outcome(connection, "a"))["type"] == "ActUnknown"
    assert len(ami.actions_named("Hangup")) == 1


async def test_a_request_before_the_commander_starts_is_done(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    await request_hangup(connection, "a")
    async with commander_task(ami, url):
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"


async def test_an_expired_request_is_never_done(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    await request_hangup(connection, "a")
    # PostgreSQL's clock decides, so the test backdates the batch.
    await connection.execute(
        "UPDATE ledger.batch SET appended = appended - make_interval(secs => $1)", executor.REQUEST_TTL_SECONDS
    )
    async with commander_task(ami, url):
        assert (await wait_outcome(connection, "a"))["reason"] == "expired"
    assert ami.actions_named("Hangup") == []


async def test_an_import_of_an_old_request_does_nothing(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commander_task(ami, url):
        await request_hangup(connection, "a", recorded=time.time() - MAX_APPEND_LAG_SECONDS - 1)
        await request_hangup(connection, "b")
        await wait_outcome(connection, "b")
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/b"]
    assert [e["id"] for name, e in await act_events(connection) if name != "ActRequested"] == ["b", "b"]


async def set_back(connection: asyncpg.Connection, seconds: float) -> None:
    """Make the last append lie in the future, as if PostgreSQL's clock had been set back by ``seconds``."""
    await connection.execute("UPDATE ledger.head SET appended = clock_timestamp() + make_interval(secs => $1)", seconds)


async def test_acts_are_done_after_a_clock_set_back(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    await set_back(connection, 3600)
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"


async def test_a_request_before_a_clock_set_back_expires(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    await set_back(connection, 3600)
    await request_hangup(connection, "a", recorded=time.time() + 3600)
    async with commander_task(ami, url):
        await request_hangup(connection, "b")
        await wait_outcome(connection, "b")
        outcome = await wait_outcome(connection, "a")
    assert (outcome["type"], outcome["reason"]) == ("ActFailed", "expired")
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/b"]


async def test_an_import_from_a_fast_clock_keeps_outcomes(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    ahead = time.time() + 3600
    events = (ActRequested("a", builtins(ChannelHangup("PJSIP/a"))), ActSucceeded("a"))
    received = [NewEvent("ringledger", type(e).__name__, ahead, ahead, msgspec.json.encode(e)) for e in events]
    async with commander_task(ami, url):
        await request_hangup(connection, "b")
        await wait_outcome(connection, "b")
        await append_events(connection, "pbx", time.time_ns(), 1, received)
        await request_hangup(connection, "c")
        await wait_outcome(connection, "c")
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/b", "PJSIP/c"]
    assert "ActFailed" not in await event_names(connection)


async def test_an_act_at_an_unreachable_pbx_fails(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    pbx = ami.pbx(port=9)
    stop = asyncio.Event()
    running = asyncio.create_task(Commander(pbx, url).run(stop))
    await request_hangup(connection, "a")
    assert (await wait_outcome(connection, "a"))["reason"] == "unreachable"
    stop.set()
    await running
    assert await event_names(connection) == ["ActRequested", "ActFailed"]


async def test_an_act_of_an_unknown_type_fails(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commander_task(ami, url):
        await append_event(connection, ActRequested("a", {"act": "pbx.explode"}))
        await notify_commander(connection, "pbx")
        assert (await wait_outcome(connection, "a"))["reason"] == "impossible"


async def test_an_unreadable_request_does_not_block_others(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    now = time.time()
    broken = NewEvent("ringledger", "ActRequested", now, now, b'{"type": "ActRequested", "id": 7}')
    async with commander_task(ami, url):
        await append_events(connection, "pbx", time.time_ns(), 1, [broken])
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"
    async with commander_task(ami, url):  # nor does it block the next commander
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"


async def test_requests_for_another_pbx_are_ignored(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commander_task(ami, url):
        await request_hangup(connection, "other", pbx="other")
        await request_hangup(connection, "own")
        await wait_outcome(connection, "own")
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/own"]


async def test_a_second_commander_takes_over(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    first = asyncio.create_task(Commander(ami.pbx(), url).run(asyncio.Event()))
    await request_hangup(connection, "a")
    await wait_outcome(connection, "a")
    async with commander_task(ami, url):
        await request_hangup(connection, "b")
        await wait_outcome(connection, "b")
        first.cancel()
        await asyncio.wait([first])
        await request_hangup(connection, "c")
        assert (await wait_outcome(connection, "c"))["type"] == "ActSucceeded"
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]


async def test_a_commander_without_the_lock_sends_nothing(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    """PostgreSQL ends the connection with the lock unnoticed, and another commander takes the lock."""
    async with Cable.to_postgresql(url) as cable:
        stop = asyncio.Event()
        cut_off = asyncio.create_task(Commander(ami.pbx(), cable.url(url)).run(stop))
        await request_hangup(connection, "a")
        await wait_outcome(connection, "a")
        cable.flowing.clear()
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1",
            Lock.COMMANDER,
        )
        async with commander_task(ami, url):
            await request_hangup(connection, "b")
            await wait_outcome(connection, "b")
            cable.flowing.set()
            await request_hangup(connection, "c")
            await wait_outcome(connection, "c")
            stop.set()
            await cut_off
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]


async def test_an_outcome_is_appended_after_the_database_returns(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    async with Cable.to_postgresql(url) as cable:
        stop = asyncio.Event()

        def reply(action: dict[str, str]) -> bytes:
            cable.cut()
            return block("Response: Success", f"ActionID: {action['ActionID']}")

        ami.replies["Hangup"] = reply
        running = asyncio.create_task(Commander(ami.pbx(), cable.url(url)).run(stop))
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"
        stop.set()
        await running
    assert len(ami.actions_named("Hangup")) == 1


async def test_outcomes_are_read_from_an_unfolded_log(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    for event in (
        ActRequested("done", builtins(ChannelHangup("PJSIP/done"))),
        ActSent("done"),
        ActSucceeded("done"),
        ActRequested("failed", builtins(ChannelHangup("PJSIP/failed"))),
        ActFailed("failed", "unreachable", ""),
        ActRequested("sent", builtins(ChannelHangup("PJSIP/sent"))),
        ActSent("sent"),
    ):
        await append_event(connection, event)
    async with commander_task(ami, url):
        assert (await wait_outcome(connection, "sent"))["type"] == "ActUnknown"
        await request_hangup(connection, "new")
        await wait_outcome(connection, "new")
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/new"]


async def test_a_cancelled_append_loses_no_other_event(
    url: str, connection: asyncpg.Connection, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = CommanderTerm(Commander(ami.pbx(), url).resources, connection)

    async def append_and_cancel(*args: Any) -> int:
        await append_events(*args)
        raise asyncio.CancelledError

    await term._log.append(ActSent("a"))
    monkeypatch.setattr(term_log, "append_events", append_and_cancel)
    with pytest.raises(asyncio.CancelledError):
        await term._log.append(ActSent("b"))
    monkeypatch.undo()
    await term._log.append(ActSent("c"))
    assert [event["id"] for _, event in await act_events(connection)] == ["a", "b", "c"]


@pytest.mark.parametrize("last_name", ["ActRequested", "ActSent"])
async def test_a_rewind_repeats_no_act(url: str, connection: asyncpg.Connection, ami: FakeAmi, last_name: str) -> None:
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        await wait_outcome(connection, "a")
        at = await connection.fetchval("SELECT position FROM ledger.event WHERE name = $1", last_name)
        await rewind(connection, at)
        await notify_commander(connection, "pbx")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"
    assert await event_names(connection) == ["ActRequested", "ActSent", "ActSucceeded"] * 2
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b"]


def test_sent_acts_are_stored_for_a_minute() -> None:
    now = 100.0
    memory = SentActs(lambda: now)
    memory.add("a")
    assert isinstance(memory.outcome_of("a"), ActUnknown)
    memory.add("a", ActSucceeded("a"))
    now = 159.0
    memory.forget_old()
    assert ("a" in memory, memory.outcome_of("a")) == (True, ActSucceeded("a"))
    now = 161.0
    memory.forget_old()
    assert "a" not in memory
    assert isinstance(memory.outcome_of("a"), ActUnknown)
