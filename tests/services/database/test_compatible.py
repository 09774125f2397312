"""An older program refuses the database of a newer one, and changes nothing there."""

import asyncio
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
from tests.support.program import environment, run_program, start_program

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


def settings(url: str, folder: Path) -> dict[str, str]:
    pbx, http = "a=ami://u:s@127.0.0.1:9", "127.0.0.1:0"
    return environment(url, folder / "data", RINGLEDGER_AMI=pbx, RINGLEDGER_HTTP=http)


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_refuses_a_newer_migration(url: str, tmp_path: Path, command: str) -> None:
    await changed(url, MIGRATION)
    (tmp_path / "queue_log").write_text("1795308978|NONE|NONE|NONE|QUEUESTART|\n")
    words = command.format(tmp=tmp_path).split()
    # Each command as a process of its own, with no other imports than its own.
    assert await start_program(*words, environ=settings(url, tmp_path)) == (2, "", f"ringledger: {NEWER_MIGRATION}\n")


@pytest.mark.parametrize("command", ["project", "serve", "up", "rebuild", "as-of 1 channels"])
async def test_a_command_refuses_a_newer_read_model(url: str, tmp_path: Path, command: str) -> None:
    await changed(url, CHECKPOINT, "model")
    done = await run_program(*command.split(), environ=settings(url, tmp_path))
    assert done == (2, "", f"ringledger: {NEWER_MODEL}\n")
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
