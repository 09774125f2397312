"""Classes that manager.conf grants to the commander's AMI user later take effect without a restart."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from schemas.log import NewEvent
from services.commander import executor
from services.commander.link import CommanderLink
from services.log.append import append_events
from tests.support.commander import commander_task, request_hangup, wait_outcome
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import eventually, present

TROUBLE = "SELECT trouble FROM ledger.commander WHERE link = 'up' AND trouble LIKE $1"


class StrictAmi(FakeAmi):
    """A PBX that denies the actions of a session whose login was before ``granted``."""

    def __init__(self) -> None:
        super().__init__()
        self.granted = False
        self.replies |= {"Hangup": self._reply, "GetConfig": self._reply}
        self._classes: dict[int, bool] = {}

    def _reply(self, headers: dict[str, str]) -> bytes:
        number = f"ActionID: {headers['ActionID']}"
        if not self._classes.setdefault(self.logins, self.granted):
            return block("Response: Error", number, "Message: Permission denied")
        if headers["Action"] == "GetConfig":
            return block("Response: Error", number, "Message: Config file not found")
        return block("Response: Success", number)


@pytest.fixture
async def ami() -> AsyncIterator[StrictAmi]:
    async with StrictAmi() as strict:
        yield strict


async def reload(connection: asyncpg.Connection, module: str) -> None:
    """Log that a module of the PBX was reloaded, as the listener does."""
    raw = block("Event: Reload", "Privilege: system,all", f"Module: {module}", "Status: 0")
    now = time.time()
    await append_events(connection, "pbx", time.time_ns(), 1, [NewEvent("ami", "Reload", now, now, raw)])


@pytest.mark.parametrize("module", ["manager", "All"])
async def test_a_commander_logs_in_again_after_a_reload(
    url: str, connection: asyncpg.Connection, ami: StrictAmi, module: str
) -> None:
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["message"] == "Permission denied"
        ami.granted = True
        await reload(connection, module)
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"
    assert ami.logins == 2
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/a", "PJSIP/b"]


async def test_a_commander_keeps_its_session_after_another_reload(
    url: str, connection: asyncpg.Connection, ami: StrictAmi
) -> None:
    ami.granted = True
    await reload(connection, "manager")  # before the commander begins
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        await wait_outcome(connection, "a")
        await reload(connection, "res_pjsip.so")
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"
    assert ami.logins == 1


async def test_a_denied_act_closes_an_old_session(
    url: str, connection: asyncpg.Connection, ami: StrictAmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "STALE_LOGIN_SECONDS", 0.0)
    async with commander_task(ami, url):
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["message"] == "Permission denied"
        ami.granted = True
        await request_hangup(connection, "b")
        assert (await wait_outcome(connection, "b"))["type"] == "ActSucceeded"
    assert len(ami.actions_named("Hangup")) == 2


async def test_a_denied_act_keeps_a_new_session(
    url: str, connection: asyncpg.Connection, ami: StrictAmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "STALE_LOGIN_SECONDS", 3600.0)
    async with commander_task(ami, url):
        for name in ("a", "b"):
            await request_hangup(connection, name)
            assert (await wait_outcome(connection, name))["message"] == "Permission denied"
    assert ami.logins == 1


async def test_a_session_in_use_is_not_closed(ami: StrictAmi) -> None:
    link = CommanderLink(ami.pbx())
    running = asyncio.create_task(link.run())
    link.follow("up")
    session = await link.session(60)
    assert session is not None
    link.outdate()
    with link.hold():
        link.retire()
        assert link.is_up
    ami.replies["Hangup"] = lambda _: b""
    acting = asyncio.create_task(session.request("Hangup"))
    await eventually(lambda: ami.actions_named("Hangup"))
    link.retire()
    assert link.is_up
    acting.cancel()
    await asyncio.wait([acting])
    await eventually(lambda: session.is_idle)
    link.retire()
    assert not link.is_up
    assert await link.session(60) is not session
    link.retire()
    assert (link.is_up, ami.logins) == (True, 2)
    running.cancel()
    await asyncio.wait([running])
    link.close()


async def test_denied_access_to_configuration_is_stored(
    url: str, connection: asyncpg.Connection, ami: StrictAmi
) -> None:
    async def row(pattern: str) -> asyncpg.Record | None:
        return await connection.fetchrow(TROUBLE, pattern)

    async with commander_task(ami, url):
        record = await present(lambda: row("%config in write%"), "the refusal is stored")
        assert record["trouble"].startswith("Asterisk refuses to show extensions.conf, ")
        ami.granted = True
        await reload(connection, "manager")
        await present(lambda: row(""), "the refusal is removed")
