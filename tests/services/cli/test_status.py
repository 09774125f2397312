"""``ringledger status`` over a real database: its lines, its faults and its exit code."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from projections import ALL
from schemas.log import (
    Connected,
    Disconnected,
    LoginRefused,
    RingledgerEvent,
    SnapshotCompleted,
    SnapshotListed,
    SnapshotStarted,
)
from schemas.refusals import IN_USE, UNAUTHENTICATED
from services.cli.status_report import read_status
from services.database.connection import connect
from services.database.errors import NoLedgerError
from services.projector.projector import Projector
from tests.support.commander import append_event
from tests.support.program import environment, run_program

LISTENER = """
INSERT INTO ledger.listener (pbx, kind, holder, host, renewed, status)
VALUES ('pbx', 'ami', 1, 'h', now() - make_interval(secs => $1), $2)
ON CONFLICT (pbx, kind) DO UPDATE SET renewed = excluded.renewed, status = excluded.status
"""
UP = {"link": "up", "waiting": 0, "spool": {"events": 0, "bytes": 0, "limit": 1000, "error": ""}}
HEALED = (Connected("a:1"), SnapshotStarted(5), SnapshotListed(5, "Agents", "complete"), SnapshotCompleted(5))


class Scene:
    """A database with a log, models, and what listeners say of themselves."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        self.url = url
        self.connection = connection
        self._projector = Projector(connection, ALL)

    async def tell(self, *events: RingledgerEvent) -> None:
        if not self._projector.cursors:
            await self._projector.open()
        for event in events:
            await append_event(self.connection, event)
        while await self._projector.advance():
            pass

    async def listener(self, seconds: float = -60.0, **output: Any) -> None:
        await self.connection.execute(LISTENER, seconds, UP | output)

    async def faults(self) -> list[str]:
        return (await read_status(self.url)).faults


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Scene]:
    connection = await connect(url, search_path="model, ledger")
    yield Scene(url, connection)
    await connection.close()


async def run(url: str, *arguments: str) -> tuple[int, str]:
    code, out, err = await run_program("status", *arguments, environ=environment(url))
    return code, out + err


async def test_nothing_is_wrong_with_a_healed_link(scene: Scene) -> None:
    await scene.tell(*HEALED)
    await scene.listener()
    code, output = await run(scene.url)
    assert code == 0, output
    for line in ("log: position 4", "PBX pbx: up since", "model channels: position", "listener of pbx (ami): link up"):
        assert line in output
    assert output.endswith("no faults\n")
    code, output = await run(scene.url, "--json")
    assert (code, json.loads(output)["faults"]) == (0, [])


async def test_a_fault_ends_with_exit_code_1(scene: Scene) -> None:
    await scene.tell(Connected("a:1"), Disconnected("cut\x1b[31m", 1.0))
    await scene.listener(link="down")
    code, output = await run(scene.url)
    assert code == 1
    assert "fault: PBX pbx: no link: cut" in output
    assert "gap of pbx:" in output
    assert "\x1b" not in output


async def test_refused_lists_are_faults(scene: Scene) -> None:
    refused = SnapshotListed(5, "Agents", "refused", "Permission denied")
    await scene.tell(Connected("a:1"), SnapshotStarted(5), refused, SnapshotCompleted(5))
    await scene.listener()
    (unhealed, named) = await scene.faults()
    assert "not all lists" in unhealed
    for words in ("PBX pbx", "Agents", "Permission denied", "agent in write"):
        assert words in named


async def test_lists_without_an_answer_are_faults(scene: Scene) -> None:
    failed = SnapshotListed(5, "Agents", "failed", "no answer")
    await scene.tell(Connected("a:1"), SnapshotStarted(5), failed, SnapshotCompleted(5, ("Agents",)))
    await scene.listener()
    assert (await scene.faults())[1:] == ["PBX pbx: no response to Agents"]


async def test_a_refused_login_is_a_fault(scene: Scene) -> None:
    await scene.tell(LoginRefused("a:1", IN_USE))
    await scene.listener(link="down")
    (fault,) = await scene.faults()
    assert "allowmultiplelogin = no" in fault


async def test_a_wrong_secret_is_named_with_the_remedy(scene: Scene) -> None:
    await scene.tell(LoginRefused("a:1", UNAUTHENTICATED))
    await scene.listener(link="down")
    await scene.connection.execute("INSERT INTO ledger.commander VALUES ('pbx', now(), 'down', 'one session')")
    (fault,) = (await read_status(scene.url, {"pbx": "lab"})).faults
    assert fault == (
        "PBX pbx: Asterisk refuses the login of lab (Authentication failed): check user and secret in RINGLEDGER_AMI"
        " and in manager.conf, and its permit lines"
    )


async def test_each_listener_has_its_own_spool(scene: Scene) -> None:
    await scene.tell(*HEALED)
    assert await scene.faults() == ["no listener has ever run"]
    await scene.listener(spool={"events": 7, "bytes": 900, "limit": 1000, "error": "disk full"})
    assert await scene.faults() == ["the spool of pbx (ami) does not accept events: disk full"]
    assert any("7 (900 bytes) in its spool" in line for line in (await read_status(scene.url)).lines)
    await scene.listener(60)
    (fault,) = await scene.faults()
    assert fault.startswith("no listener of pbx (ami) has been running for 6")
    await scene.listener(40 * 86400)
    assert await scene.faults() == ["no listener has ever run"]


async def test_processes_that_have_ended_are_not_there(scene: Scene) -> None:
    await scene.tell(*HEALED)
    await scene.listener(3600, waiting=2)
    await scene.connection.execute("INSERT INTO ledger.commander VALUES ('pbx', now() - interval '1 hour', 'up', '')")
    lines = [line for line in (await read_status(scene.url)).lines if "pbx" in line]
    assert [re.sub(r"\b36\d\d\b", "3600", line) for line in lines] == [
        "listener of pbx (ami): not running, last update 3600 s ago; it left 0 (0 bytes) in its spool",
        "PBX pbx: down, its listener is not running",
        "commander of pbx: not running, last update 3600 s ago",
    ]


async def test_models_that_stand_still_are_faults(scene: Scene) -> None:
    await scene.tell(*HEALED)
    await scene.listener()
    await scene.connection.execute("UPDATE checkpoint SET error = 'why' WHERE model = 'queues'")
    assert await scene.faults() == ["read model queues has stopped: why"]
    await scene.connection.execute("UPDATE checkpoint SET error = NULL, position = 2 WHERE model = 'queues'")
    await scene.connection.execute("UPDATE ledger.event SET recorded = recorded - interval '1 minute'")
    assert await scene.faults() == ["read model queues is 2 events behind"]
    await scene.connection.execute("UPDATE checkpoint SET position = 2 WHERE model = 'channels'")
    assert await scene.faults() == ["read models channels, queues are 2 events behind"]
    await scene.connection.execute("UPDATE checkpoint SET position = 2")
    (fault,) = await scene.faults()
    assert fault.startswith("all read models are 2 events behind: ")
    await scene.connection.execute("UPDATE checkpoint SET position = 4")
    await scene.connection.execute("DELETE FROM checkpoint WHERE model = 'queues'")
    assert await scene.faults() == ["read model queues does not exist yet"]


async def test_a_commander_without_a_session_is_a_fault(scene: Scene) -> None:
    await scene.tell(*HEALED)
    await scene.listener()
    await scene.connection.execute("INSERT INTO ledger.commander VALUES ('pbx', now(), 'down', 'one session')")
    assert await scene.faults() == ["PBX pbx: no act reaches it: one session"]
    await scene.connection.execute("UPDATE ledger.commander SET link = 'up', trouble = 'no file is shown'")
    assert await scene.faults() == ["PBX pbx: no file is shown"]


async def test_a_database_without_a_ledger_has_no_status(empty_url: str) -> None:
    with pytest.raises(NoLedgerError):
        await read_status(empty_url)
    code, output = await run(empty_url)
    assert (code, output.count("\n")) == (1, 1)
    code, output = await run("postgresql://nobody@127.0.0.1:1/none")
    assert (code, output.count("\n")) == (1, 1)
    assert "does not answer" in output
