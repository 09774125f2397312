"""An older program refuses the database of a newer one, and changes nothing there."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from projections import ALL
from projections.calls.channels import CHANNELS
from services.database import compatible
from services.database.compatible import IncompatibleError
from services.database.connection import connect
from services.database.migrate import migrate
from services.projector.process import project
from services.projector.projector import Projector

PROGRAM = Path(sys.executable).parent / "ringledger"
LIMIT = 120
LAST = compatible.migrations()[-1][0]
MIGRATION = "INSERT INTO ringledger_migration (name, text) VALUES ('9999_later.sql', '')"
CHECKPOINT = "INSERT INTO ledger.checkpoint (model, place, version, position) VALUES ('channels', $1, 99, 7)"
CHECKPOINTS = "SELECT model, place, version, position FROM ledger.checkpoint"

NEWER_MIGRATION = f"the database has migration 9999_later.sql, this program's last one is {LAST}: {compatible.ADVICE}"
NEWER_MODEL = (
    f"read model channels is of version 99, this program makes version {CHANNELS.version}: {compatible.ADVICE}"
)

COMMANDS = (
    *("up", "listen", "project", "command", "serve", "rebuild", "rebuild --diff", "verify", "migrate"),
    *("export --output {tmp}/x.jsonl.zst", "export --ami --pbx a", "as-of 1 channels", "diff 1 2 channels"),
    *(
        "archive --before 2026-10 --output {tmp}",
        "redact --number 5551234",
        "import --queue-log --pbx a {tmp}/queue_log",
    ),
)


async def changed(url: str, sql: str, *arguments: object) -> None:
    connection = await connect(url)
    await connection.execute(sql, *arguments)
    await connection.close()


async def ran(url: str, data: Path, *words: str) -> tuple[int, str]:
    environ = {"PATH": os.environ["PATH"], "RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(data / "data")}
    environ |= {"RINGLEDGER_AMI": "a=ami://u:s@127.0.0.1:9", "RINGLEDGER_HTTP": "127.0.0.1:0"}

    def run() -> tuple[int, str]:
        done = subprocess.run(
            [PROGRAM, *words], env=environ, capture_output=True, text=True, check=False, timeout=LIMIT
        )
        return done.returncode, done.stderr

    return await asyncio.to_thread(run)


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_refuses_a_newer_migration(url: str, tmp_path: Path, command: str) -> None:
    await changed(url, MIGRATION)
    (tmp_path / "queue_log").write_text("1795308978|NONE|NONE|NONE|QUEUESTART|\n")
    words = command.format(tmp=tmp_path).split()
    assert await ran(url, tmp_path, *words) == (2, f"ringledger: {NEWER_MIGRATION}\n")


@pytest.mark.parametrize("command", ["project", "serve", "up", "rebuild", "as-of 1 channels"])
async def test_a_command_refuses_a_newer_read_model(url: str, tmp_path: Path, command: str) -> None:
    await changed(url, CHECKPOINT, "model")
    assert await ran(url, tmp_path, *command.split()) == (2, f"ringledger: {NEWER_MODEL}\n")
    connection = await connect(url)
    assert [tuple(row) for row in await connection.fetch(CHECKPOINTS)] == [("channels", "model", 99, 7)]
    await connection.close()


async def test_a_projector_changes_nothing_of_a_newer_model(url: str) -> None:
    await changed(url, CHECKPOINT, "model")
    connection = await connect(url, search_path="model, ledger")
    with pytest.raises(IncompatibleError, match="version 99"):
        await Projector(connection, ALL).open()
    with pytest.raises(IncompatibleError, match="version 99"):
        await project(url, asyncio.Event())
    assert [tuple(row) for row in await connection.fetch(CHECKPOINTS)] == [("channels", "model", 99, 7)]
    await connection.close()


async def test_migrate_refuses_before_any_change(url: str) -> None:
    connection = await connect(url)
    await connection.execute(MIGRATION)
    await connection.execute("DELETE FROM ringledger_migration WHERE name = $1", LAST)
    with pytest.raises(IncompatibleError, match=r"9999_later\.sql"):
        await migrate(connection)
    assert not await connection.fetchval("SELECT count(*) FROM ringledger_migration WHERE name = $1", LAST)
    await connection.close()


async def test_older_and_unserved_models_are_compatible(url: str) -> None:
    connection = await connect(url)
    await connection.execute(CHECKPOINT, "rebuild")
    await connection.execute(CHECKPOINT.replace("99", "0"), "model")
    await connection.execute(CHECKPOINT.replace("channels", "later_model"), "model")
    await compatible.check(connection)
    await connection.close()


async def test_an_empty_or_absent_database_is_compatible(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA ledger CASCADE; DROP TABLE ringledger_migration")
    await compatible.check(connection)
    await connection.close()
    await compatible.check_at("postgresql://x@127.0.0.1:9/x")
