"""Lists that Asterisk refuses heal nothing (main/manager.c, Asterisk 16 to 23: "Permission denied")."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from projections.calls.channels import CHANNELS
from projections.pbx.gaps import GAPS
from projections.pbx.links import LINKS
from schemas.refusals import NEEDS
from services.asterisk.ami import lists
from services.asterisk.ami import snapshots as snapshot
from services.asterisk.ami.lists import FREQUENT, RARE
from services.database.connection import connect
from services.projector.projector import Projector
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.listener import listener_task
from tests.support.pbx22 import DENIED, pbx22, reply_with, reply_with_list
from tests.support.polling import eventually, present

RELOAD = block("Event: Reload", "Module: app_queue.so", "Status: 0")
CALL = block(
    "Event: Newchannel",
    "Channel: PJSIP/trunk-00000001",
    "ChannelState: 6",
    "ChannelStateDesc: Up",
    "Exten: 600",
    "Uniqueid: 1795000000.1",
    "Linkedid: 1795000000.1",
)


class Models:
    """The rows of three models, folded at each call."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._projector = Projector(connection, (LINKS, GAPS, CHANNELS))

    async def rows(self, model: str) -> list[dict[str, Any]]:
        if not self._projector.cursors:
            await self._projector.open()
        while await self._projector.advance():
            pass
        return [dict(row) for row in await self._connection.fetch(f"SELECT * FROM {model} t ORDER BY t")]


@pytest.fixture
async def models(url: str) -> AsyncIterator[Models]:
    connection = await connect(url, search_path="model, ledger")
    yield Models(connection)
    await connection.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SETTLE_SECONDS", 0.05)


async def wait_outcome(url: str, action: str, outcome: str, link: int = 1) -> dict[str, Any]:
    """Wait until a complete snapshot of the nth link has this outcome of a list; return its SnapshotListed."""

    async def listed_event() -> dict[str, Any] | None:
        rows = [row for row in await EventLog(url).rows(source="ringledger") if row["name"] != "Minute"]
        starts = [n for n, row in enumerate(rows) if row["name"] == "Connected"]
        events = [msgspec.json.decode(row["raw"]) for row in rows[starts[link - 1] :]] if len(starts) >= link else []
        ends = [n for n, event in enumerate(events) if event["type"] == "SnapshotCompleted"]
        return next(
            (
                event
                for n, event in enumerate(events)
                if event.get("action") == action and event["outcome"] == outcome and any(n < end for end in ends)
            ),
            None,
        )

    event: dict[str, Any] = await present(listed_event, f"{action} is {outcome}")
    return event


async def test_a_refused_list_heals_no_gap(url: str, models: Models) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.replies["CoreShowChannels"] = DENIED
        await wait_outcome(url, "CoreShowChannels", "refused")
        fake.send(CALL)
        await EventLog(url).until(lambda names: "Newchannel" in names)
        fake.cut()
        await wait_outcome(url, "CoreShowChannels", "refused", link=2)
        (link,) = await models.rows("links")
        assert (link["state"], link["healed"]) == ("up", False)
        assert link["failed"] == ["CoreShowChannels: Permission denied"]
        (gap,) = await models.rows("gaps")
        assert gap["until_time"] is not None
        assert gap["healed_time"] is None
        assert len(await models.rows("channels")) == 1

        fake.replies["CoreShowChannels"] = reply_with_list()
        fake.send(RELOAD)
        await wait_outcome(url, "CoreShowChannels", "complete", link=2)
        (link,) = await models.rows("links")
        assert (link["healed"], link["failed"]) == (True, [])
        assert [gap["healed_time"] is None for gap in await models.rows("gaps")] == [False]
        assert await models.rows("channels") == []


async def test_a_later_refusal_ends_the_healed_state(url: str, models: Models) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        await wait_outcome(url, "Agents", "complete")
        assert (await models.rows("links"))[0]["healed"] is True
        fake.replies["Agents"] = DENIED
        fake.send(RELOAD)
        await wait_outcome(url, "Agents", "refused")
        assert (await models.rows("links"))[0]["healed"] is False


async def test_a_refused_command_heals_with_allowed_modulecheck(url: str, models: Models) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.replies |= {"Command": DENIED, "ModuleCheck": reply_with("Response: Error", "Message: Module not loaded")}
        assert (await wait_outcome(url, "Command", "refused"))["instead"] == "ModuleCheck"
        (link,) = await models.rows("links")
        assert (link["healed"], link["failed"]) == (True, [])


async def test_a_refused_command_without_substitute_heals_nothing(url: str, models: Models) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.replies |= {"Command": DENIED, "ModuleCheck": DENIED}
        await wait_outcome(url, "Command", "refused")
        (link,) = await models.rows("links")
        assert (link["healed"], link["failed"]) == (False, ["Command: Permission denied"])


async def test_an_unknown_action_is_not_refused(url: str, models: Models) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.welcome = b""  # without class system in read there is no FullyBooted
        await wait_outcome(url, "SIPpeers", "unsupported")
        assert (await models.rows("links"))[0]["healed"] is True


async def test_an_unknown_list_during_boot_heals_nothing(url: str, models: Models) -> None:
    """manager.c accepts clients before modules are loaded, and sends FullyBooted after that."""
    booted = block("Event: FullyBooted", "Status: Fully Booted")
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        await wait_outcome(url, "Agents", "complete")
        agents = fake.replies.pop("Agents")
        fake.welcome = b""
        fake.cut()
        await wait_outcome(url, "Agents", "failed", link=2)
        (link,) = await models.rows("links")
        assert (link["healed"], link["failed"]) == (False, ["Agents", "SIPpeers", "SIPshowregistry"])
        fake.replies["Agents"] = agents
        fake.send(booted)
        await wait_outcome(url, "SIPpeers", "empty", link=2)
        (link,) = await models.rows("links")
        assert (link["healed"], link["failed"]) == (True, [])


@pytest.mark.parametrize("module", ["manager", "All"])
async def test_a_manager_reload_ends_a_refused_session(url: str, module: str) -> None:
    """A session keeps the classes of its login (manager.c, authenticate), so a new login is needed."""
    async with ManagerConf() as fake, listener_task(url, fake.pbx()):
        await wait_outcome(url, "Agents", "refused")
        fake.denied.clear()
        fake.send(block("Event: Reload", f"Module: {module}", "Status: 0"))
        await wait_outcome(url, "Agents", "complete", link=2)
        (lost,) = await EventLog(url).ours("Disconnected")
        assert "manager.conf" in lost["reason"]
        # Without refusals the listener does not log in again.
        count = len(fake.actions_named("Agents"))
        fake.send(block("Event: Reload", f"Module: {module}", "Status: 0"))
        await eventually(lambda: len(fake.actions_named("Agents")) > count)
        assert fake.logins == 2


class ManagerConf(FakeAmi):
    """A PBX whose sessions keep the classes of their login; ``denied`` are the actions refused to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.denied = {"Agents"}
        self.replies = pbx22().replies
        of_session = dict[int, frozenset[str]]()
        agents = self.replies["Agents"]

        def reply(action: dict[str, str]) -> bytes:
            classes = of_session.setdefault(self.logins, frozenset(self.denied))
            return DENIED(action) if "Agents" in classes else agents(action)

        self.replies["Agents"] = reply


async def test_a_long_refusal_message_is_truncated(url: str) -> None:
    async with pbx22() as fake, listener_task(url, fake.pbx()):
        fake.replies["Agents"] = reply_with("Response: Error", f"Message: Permission denied{'x' * 100_000}")
        event = await wait_outcome(url, "Agents", "refused")
        assert len(event["message"]) == lists.MAX_MESSAGE_LENGTH


def test_the_docs_name_the_classes_of_lists() -> None:
    assert set(NEEDS) == {*FREQUENT, *RARE}
    page = (Path(__file__).parents[3] / "docs" / "install.md").read_text(encoding="utf-8")
    for need in NEEDS.values():
        for name in need.classes:
            assert f"\n| `{name}` |" in page
