"""``allowmultiplelogin = no``: the listener has the only session, and the commander reports why it has none."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from schemas.log import Connected, LoginRefused
from schemas.refusals import IN_USE
from schemas.settings import Settings
from services.commander import link as commander_link
from services.commander import process, term
from services.commander.link import CommanderLink
from services.listener import ami as listener_ami
from services.log.listener_link import listener_link
from services.runtime.settings import SettingsError, load_settings
from tests.support.commander import append_event, commander_task, request_hangup, wait_outcome
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.listener import listener_task
from tests.support.polling import eventually, present
from tests.support.settings import SECRET

LISTENER = """
INSERT INTO ledger.listener (pbx, kind, holder, host, renewed, status)
VALUES ('pbx', 'ami', 1, 'h', clock_timestamp() - make_interval(secs => $1), $2)
ON CONFLICT (pbx, kind) DO UPDATE SET renewed = excluded.renewed, status = excluded.status
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term, "LISTENER_POLL_SECONDS", 0.02)
    monkeypatch.setattr(listener_ami, "IN_USE_RETRY_SECONDS", 0.05)
    # The commander waits without a limit, because the listener of a test always starts.
    monkeypatch.setattr(commander_link, "NO_LISTENER_SECONDS", math.inf)


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as fake:
        fake.one_session = True
        fake.replies["Hangup"] = lambda action: block("Response: Success", f"ActionID: {action['ActionID']}")
        yield fake


async def test_the_listener_keeps_the_only_session(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with commander_task(ami, url), listener_task(url, ami.pbx()):
        await eventually(lambda: ami.turned_away)
        assert ami.sessions == ["on"]
        await request_hangup(connection, "a")
        outcome = await wait_outcome(connection, "a")
        assert (outcome["type"], outcome["reason"]) == ("ActFailed", "unreachable")
        for words in (IN_USE, "allowmultiplelogin = no", "RINGLEDGER_AMI_COMMAND"):
            assert words in outcome["message"]
        ami.send(block("Event: Newchannel", "Uniqueid: 1.1"))
        names = await EventLog(url).until(lambda names: "Newchannel" in names)
    assert "LoginRefused" not in names
    assert ami.sessions == ["on"]


async def test_a_commander_yields_to_a_refused_listener(
    url: str, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commander_link, "NO_LISTENER_SECONDS", 0.0)
    async with commander_task(ami, url) as commander:
        await eventually(lambda: commander.resources.link.is_up)
        async with listener_task(url, ami.pbx()):
            await EventLog(url).until(lambda names: "Connected" in names)
            assert ami.sessions == ["off", "on"]
            await eventually(lambda: commander.resources.link.trouble == commander_link.ONE_SESSION)


async def test_a_commander_acts_beside_the_listener(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    ami.one_session = False
    async with commander_task(ami, url) as commander, listener_task(url, ami.pbx()):
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"
        assert (ami.sessions, commander.resources.link.trouble) == (["on", "off"], "")


async def test_a_standby_commander_opens_no_session(url: str, ami: FakeAmi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commander_link, "NO_LISTENER_SECONDS", 0.0)
    async with commander_task(ami, url) as first:
        await eventually(lambda: first.resources.link.is_up)
        async with commander_task(ami, url):
            await eventually(lambda: ami.logins >= 1)
    assert (ami.logins, ami.turned_away) == (1, 0)


async def test_a_session_stays_while_the_listener_is_down(ami: FakeAmi) -> None:
    link = CommanderLink(ami.pbx())
    running = asyncio.create_task(link.run())
    link.follow("up")
    await eventually(lambda: link.is_up)
    link.follow("down")
    assert link.is_up
    ami.cut()
    await eventually(lambda: link.trouble == commander_link.NO_LISTENER_LINK)
    assert ami.logins == 1
    link.follow("up")
    await eventually(lambda: link.is_up)
    assert (ami.logins, link.trouble) == (2, "")
    link.follow("refused")
    await eventually(lambda: not link.is_up)
    running.cancel()
    await asyncio.wait([running])
    link.close()


async def test_a_wrong_commander_secret_names_its_setting(ami: FakeAmi) -> None:
    ami.secret = "another"
    link = CommanderLink(ami.pbx(), "RINGLEDGER_AMI_COMMAND")
    running = asyncio.create_task(link.run())
    link.follow("up")
    await eventually(lambda: link.trouble)
    running.cancel()
    await asyncio.wait([running])
    assert link.trouble == (
        "Asterisk refuses the login of lab (Authentication failed): check user and secret in RINGLEDGER_AMI_COMMAND"
        " and in manager.conf, and its permit lines"
    )


async def test_listener_link_is_read_from_lease_and_log(connection: asyncpg.Connection) -> None:
    async def state() -> str:
        return await listener_link(connection.fetch, "pbx")

    assert await state() == "none"
    await connection.execute(LISTENER, 0, {})
    assert await state() == "down"
    await append_event(connection, LoginRefused("a:1", IN_USE))
    assert await state() == "refused"
    await append_event(connection, Connected("a:1"))
    assert await state() == "down"
    await connection.execute(LISTENER, 0, {"link": "up"})
    assert await state() == "up"
    await connection.execute(LISTENER, 6, {"link": "up"})
    assert await state() == "down"


async def test_the_trouble_of_a_commander_is_stored(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async def trouble_row() -> asyncpg.Record | None:
        query = "SELECT link, trouble FROM ledger.commander WHERE pbx = 'pbx' AND trouble LIKE '%allowmultiplelogin%'"
        return await connection.fetchrow(query)

    async with commander_task(ami, url), listener_task(url, ami.pbx()):
        assert (await present(trouble_row, "the trouble is stored"))["link"] == "down"


@asynccontextmanager
async def second_user_task(fake: FakeAmi, url: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    second = fake.pbx()
    task = asyncio.create_task(process.command(Settings(ami=(fake.pbx(port=9),), ami_command=(second,)), url, stop))
    yield
    stop.set()
    await task


async def test_a_commander_uses_its_own_ami_user(url: str, connection: asyncpg.Connection, ami: FakeAmi) -> None:
    async with second_user_task(ami, url):
        await connection.execute(LISTENER, -60, {"link": "up"})
        await request_hangup(connection, "a")
        assert (await wait_outcome(connection, "a"))["type"] == "ActSucceeded"


def test_a_commander_user_needs_a_configured_pbx() -> None:
    environ = {
        "RINGLEDGER_AMI": f"berlin=ami://user:{SECRET}@pbx1",
        "RINGLEDGER_AMI_COMMAND": f"berlin=ami://hand:{SECRET}@pbx1",
    }
    settings = load_settings(environ)
    assert [(pbx.name, pbx.user) for pbx in settings.ami_command] == [("berlin", "hand")]
    with pytest.raises(SettingsError, match="RINGLEDGER_AMI has no PBX named paris"):
        load_settings({**environ, "RINGLEDGER_AMI_COMMAND": f"paris=ami://hand:{SECRET}@pbx1"})
