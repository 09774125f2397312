"""The commander over a real log and a scripted PBX: once, in order, and never when it is too late."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.acts import ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown, builtins
from schemas.acts.channel import ChannelHangup
from schemas.log import NewEvent, RingledgerEvent
from services.commander import executor, term_log
from services.commander.commander import Commander
from services.commander.executor import MAX_APPEND_LAG_SECONDS
from services.commander.sent_acts import SentActs
from services.commander.term import CommanderTerm
from services.database.locks import Lock
from services.database.notify import notify_commander
from services.log.append import append_events
from tests.support.cable import Cable
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import eventually
from tests.support.restoring import rewind

OURS = "SELECT name, raw FROM ledger.event WHERE name LIKE 'Act%' ORDER BY position"


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as fake:
        fake.replies["Hangup"] = lambda asked: block("Response: Success", f"ActionID: {asked['ActionID']}")
        yield fake


@asynccontextmanager
async def commanding(fake: FakeAmi, url: str) -> AsyncIterator[Commander]:
    stop = asyncio.Event()
    commander = Commander(fake.pbx(), url)
    running = asyncio.create_task(commander.run(stop))
    yield commander
    stop.set()
    await running


async def ask(connection: asyncpg.Connection, name: str, *, pbx: str = "pbx", recorded: float = 0.0) -> None:
    """Request the hangup of PJSIP/<name>; the act's id is ``name`` too."""
    await write(connection, ActRequested(name, builtins(ChannelHangup(f"PJSIP/{name}"))), pbx, recorded)
    await notify_commander(connection, pbx)


async def write(
    connection: asyncpg.Connection, event: RingledgerEvent, pbx: str = "pbx", recorded: float = 0.0
) -> None:
    now = recorded or time.time()
    received = NewEvent("ringledger", type(event).__name__, now, now, msgspec.json.encode(event))
    await append_events(connection, pbx, time.time_ns(), 1, [received])


async def told(connection: asyncpg.Connection) -> list[tuple[str, dict[str, Any]]]:
    return [(name, msgspec.json.decode(raw)) for name, raw in await connection.fetch(OURS)]


async def ended(connection: asyncpg.Connection, act_id: str) -> dict[str, Any]:
    """Wait for the outcome of an act, and return it."""
    outcomes = ("ActSucceeded", "ActFailed", "ActUnknown")

    async def there() -> dict[str, Any] | None:
        return next((e for name, e in await told(connection) if name in outcomes and e["id"] == act_id), None)

    found: dict[str, Any] | None = await eventually(there, f"{act_id} has an outcome")
    assert found is not None
    return found


async def names(connection: asyncpg.Connection) -> list[str]:
    return [name for name, _ in await told(connection)]


async def test_what_is_asked_is_done_once_and_in_order(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commanding(ami, url):
        for name in ("a", "b", "c"):
            await ask(connection, name)
        assert (await ended(connection, "c"))["type"] == "ActSucceeded"
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]
    assert [e["id"] for name, e in await told(connection) if name == "ActSent"] == ["a", "b", "c"]
    assert (await names(connection))[-3:] == ["ActSucceeded", "ActSent", "ActSucceeded"]


async def test_the_session_that_acts_does_not_listen(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commanding(ami, url):
        await ask(connection, "a")
        await ended(connection, "a")
    assert [asked["Events"] for asked in ami.actions_named("Login")] == ["off"]


async def test_asterisks_refusal_is_told_in_its_words(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    words = {"PJSIP/gone": "No such channel", "PJSIP/mine": "Permission denied"}
    ami.replies["Hangup"] = lambda asked: block(
        "Response: Error", f"ActionID: {asked['ActionID']}", f"Message: {words[asked['Channel']]}"
    )
    async with commanding(ami, url):
        await ask(connection, "gone")
        await ask(connection, "mine")
        gone, mine = await ended(connection, "gone"), await ended(connection, "mine")
    assert (gone["type"], gone["reason"], gone["message"]) == ("ActFailed", "absent", "No such channel")
    assert (mine["reason"], mine["message"]) == ("refused", "Permission denied")


async def test_an_answer_that_never_came_is_unknown_and_not_asked_again(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    ami.hangs_up_at.add("Hangup")
    async with commanding(ami, url):
        await ask(connection, "a")
        assert (await ended(connection, "a"))["type"] == "ActUnknown"
        ami.hangs_up_at.clear()
        await eventually(lambda: ami.logins >= 2)
        await ask(connection, "b")
        assert (await ended(connection, "b"))["type"] == "ActSucceeded"
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b"]


async def test_a_commander_that_dies_before_the_answer_leaves_unknown(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    ami.replies["Hangup"] = lambda _: b""
    dying = asyncio.create_task(Commander(ami.pbx(), url).run(asyncio.Event()))
    await ask(connection, "a")
    await eventually(lambda: ami.actions_named("Hangup"))
    dying.cancel()
    await asyncio.wait([dying])
    async with commanding(ami, url):
        assert (await ended(connection, "a"))["type"] == "ActUnknown"
    assert len(ami.actions_named("Hangup")) == 1


async def test_what_waited_for_a_commander_is_done_if_it_is_not_too_late(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    await ask(connection, "a")
    async with commanding(ami, url):
        assert (await ended(connection, "a"))["type"] == "ActSucceeded"


async def test_what_waited_too_long_is_never_done(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    await ask(connection, "a")
    # PostgreSQL's clock decides: the batch is made older than it is.
    await connection.execute(
        "UPDATE ledger.batch SET appended = appended - make_interval(secs => $1)", executor.REQUEST_TTL_SECONDS
    )
    async with commanding(ami, url):
        assert (await ended(connection, "a"))["reason"] == "expired"
    assert ami.actions_named("Hangup") == []


async def test_an_import_of_an_old_request_does_nothing(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commanding(ami, url):
        await ask(connection, "a", recorded=time.time() - MAX_APPEND_LAG_SECONDS - 1)
        await ask(connection, "b")
        await ended(connection, "b")
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/b"]
    assert [e["id"] for name, e in await told(connection) if name != "ActRequested"] == ["b", "b"]


async def set_back(connection: asyncpg.Connection, seconds: float) -> None:
    """Let PostgreSQL's clock have been set back by so many seconds: the log was appended to later than now."""
    await connection.execute("UPDATE ledger.head SET appended = clock_timestamp() + make_interval(secs => $1)", seconds)


async def test_acts_are_done_while_the_clock_is_back(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    await set_back(connection, 3600)
    async with commanding(ami, url):
        await ask(connection, "a")
        assert (await ended(connection, "a"))["type"] == "ActSucceeded"


async def test_a_request_before_a_clock_set_back_is_not_done(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    await set_back(connection, 3600)
    await ask(connection, "a", recorded=time.time() + 3600)
    async with commanding(ami, url):
        await ask(connection, "b")
        await ended(connection, "b")
        outcome = await ended(connection, "a")
    assert (outcome["type"], outcome["reason"]) == ("ActFailed", "expired")
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/b"]


async def test_an_import_from_a_clock_ahead_keeps_its_outcome(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    ahead = time.time() + 3600
    story = (ActRequested("a", builtins(ChannelHangup("PJSIP/a"))), ActSucceeded("a"))
    received = [NewEvent("ringledger", type(e).__name__, ahead, ahead, msgspec.json.encode(e)) for e in story]
    async with commanding(ami, url):
        await ask(connection, "b")
        await ended(connection, "b")
        await append_events(connection, "pbx", time.time_ns(), 1, received)
        await ask(connection, "c")
        await ended(connection, "c")
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/b", "PJSIP/c"]
    assert "ActFailed" not in await names(connection)


async def test_a_pbx_that_cannot_be_reached(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    pbx = ami.pbx(port=9)
    stop = asyncio.Event()
    running = asyncio.create_task(Commander(pbx, url).run(stop))
    await ask(connection, "a")
    assert (await ended(connection, "a"))["reason"] == "unreachable"
    stop.set()
    await running
    assert await names(connection) == ["ActRequested", "ActFailed"]


async def test_an_act_that_this_version_does_not_know(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commanding(ami, url):
        await write(connection, ActRequested("a", {"act": "pbx.explode"}))
        await notify_commander(connection, "pbx")
        assert (await ended(connection, "a"))["reason"] == "impossible"


async def test_a_request_that_cannot_be_read_does_not_keep_others_waiting(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    now = time.time()
    broken = NewEvent("ringledger", "ActRequested", now, now, b'{"type": "ActRequested", "id": 7}')
    async with commanding(ami, url):
        await append_events(connection, "pbx", time.time_ns(), 1, [broken])
        await ask(connection, "a")
        assert (await ended(connection, "a"))["type"] == "ActSucceeded"
    async with commanding(ami, url):  # it is in the way of the next one's beginning neither
        await ask(connection, "b")
        assert (await ended(connection, "b"))["type"] == "ActSucceeded"


async def test_requests_for_another_pbx_are_left_alone(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commanding(ami, url):
        await ask(connection, "theirs", pbx="other")
        await ask(connection, "ours")
        await ended(connection, "ours")
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/ours"]


async def test_of_two_commanders_one_acts_and_the_other_takes_over(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    first = asyncio.create_task(Commander(ami.pbx(), url).run(asyncio.Event()))
    await ask(connection, "a")
    await ended(connection, "a")
    async with commanding(ami, url):
        await ask(connection, "b")
        await ended(connection, "b")
        first.cancel()
        await asyncio.wait([first])
        await ask(connection, "c")
        assert (await ended(connection, "c"))["type"] == "ActSucceeded"
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]


async def test_who_has_lost_the_lock_sends_nothing(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    """The connection that holds the lock is cut behind the commander's back, and another takes the lock."""
    async with Cable.to_postgresql(url) as cable:
        stop = asyncio.Event()
        cut_off = asyncio.create_task(Commander(ami.pbx(), cable.url(url)).run(stop))
        await ask(connection, "a")
        await ended(connection, "a")
        cable.flowing.clear()
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1",
            Lock.COMMANDER,
        )
        async with commanding(ami, url):
            await ask(connection, "b")
            await ended(connection, "b")
            cable.flowing.set()
            await ask(connection, "c")
            await ended(connection, "c")
            stop.set()
            await cut_off
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b", "PJSIP/c"]


async def test_an_outcome_that_could_not_be_written_is_written_when_it_can(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    async with Cable.to_postgresql(url) as cable:
        stop = asyncio.Event()

        def reply(asked: dict[str, str]) -> bytes:
            cable.cut()
            return block("Response: Success", f"ActionID: {asked['ActionID']}")

        ami.replies["Hangup"] = reply
        running = asyncio.create_task(Commander(ami.pbx(), cable.url(url)).run(stop))
        await ask(connection, "a")
        assert (await ended(connection, "a"))["type"] == "ActSucceeded"
        stop.set()
        await running
    assert len(ami.actions_named("Hangup")) == 1


async def test_ends_are_found_in_the_log_where_no_model_has_been_folded(
    url: str, connection: asyncpg.Connection, ami: FakeAmi
) -> None:
    for event in (
        ActRequested("done", builtins(ChannelHangup("PJSIP/done"))),
        ActSent("done"),
        ActSucceeded("done"),
        ActRequested("failed", builtins(ChannelHangup("PJSIP/failed"))),
        ActFailed("failed", "unreachable", ""),
        ActRequested("sent", builtins(ChannelHangup("PJSIP/sent"))),
        ActSent("sent"),
    ):
        await write(connection, event)
    async with commanding(ami, url):
        assert (await ended(connection, "sent"))["type"] == "ActUnknown"
        await ask(connection, "new")
        await ended(connection, "new")
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/new"]


async def test_an_append_that_was_cancelled_swallows_no_other(
    url: str, connection: asyncpg.Connection, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = CommanderTerm(Commander(ami.pbx(), url).resources, connection)

    async def cancelled(*what: Any) -> int:
        await append_events(*what)
        raise asyncio.CancelledError

    await term._log.append(ActSent("a"))
    monkeypatch.setattr(term_log, "append_events", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await term._log.append(ActSent("b"))
    monkeypatch.undo()
    await term._log.append(ActSent("c"))
    assert [event["id"] for _, event in await told(connection)] == ["a", "b", "c"]


@pytest.mark.parametrize("kept", ["ActRequested", "ActSent"])
async def test_an_act_is_not_sent_again_after_a_rewind(
    url: str, connection: asyncpg.Connection, ami: FakeAmi, kept: str
) -> None:
    async with commanding(ami, url):
        await ask(connection, "a")
        await ended(connection, "a")
        at = await connection.fetchval("SELECT position FROM ledger.event WHERE name = $1", kept)
        await rewind(connection, at)
        await notify_commander(connection, "pbx")
        assert (await ended(connection, "a"))["type"] == "ActSucceeded"
        await ask(connection, "b")
        assert (await ended(connection, "b"))["type"] == "ActSucceeded"
    assert await names(connection) == ["ActRequested", "ActSent", "ActSucceeded"] * 2
    assert [asked["Channel"] for asked in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b"]


def test_sent_acts_are_remembered_for_a_minute() -> None:
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
