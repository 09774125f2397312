"""Every command reports an error of PostgreSQL as one line with advice, never as a traceback."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import asyncpg
import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from schemas.settings import Settings
from services.cli.options import app, open_database
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.errors import CONNECTION_LOST, MISCONFIGURED, UNREACHABLE, explain, is_from_postgresql
from services.database.locks import Lock, locked
from services.database.migrate import migrate
from services.log.append import append_events
from services.transfer.export_ledger import export_ledger
from tests.support.freezing import crowded, frozen
from tests.support.program import Run, environment, run_program
from tests.support.redacting import VARIETY

LIMITS = {
    "services.database.compatible.CONNECT_SECONDS": 1.0,
    "services.database.connection.CONNECT_SECONDS": 1.0,
    "services.database.embedded.ANSWER_SECONDS": 1.0,
}
"""A second instead of ten: a frozen server never answers."""

STATES = {
    "08006": "PostgreSQL does not answer: why; run this again later",
    "25006": "PostgreSQL takes no writes: why; point RINGLEDGER_DATABASE_URL at the primary server",
    "28P01": "PostgreSQL refuses the login: why; check user and password in RINGLEDGER_DATABASE_URL",
    "3D000": "PostgreSQL does not have this database: why; create it, or correct RINGLEDGER_DATABASE_URL",
    "40P01": "PostgreSQL refuses: why; run this again later",
    "42P01": "PostgreSQL holds no ledger of this version: why; run `ringledger migrate`",
    "53100": "PostgreSQL has no room left on its disk: why; make room there, then run this again",
    "53300": (
        "PostgreSQL takes no more connections: why; raise max_connections or end other clients, then run this again"
    ),
    "55P03": "PostgreSQL waits for a lock that something else holds: why; run this again later",
    "57P03": "PostgreSQL is starting or stopping: why; run this again later",
}


def error_of(state: str) -> Exception:
    error: Exception = asyncpg.PostgresError.new({"C": state, "M": "why"})
    return error


@pytest.mark.parametrize("state", STATES)
def test_an_error_within_a_command_is_one_line(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = replace(Settings(), database_url="postgresql://nowhere")
    with pytest.raises(typer.Exit) as raised, open_database(settings):
        raise error_of(state)
    assert raised.value.exit_code == 2
    assert capsys.readouterr().err == f"ringledger: {STATES[state]}\n"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "x"), BrokenPipeError(), KeyError("x")])
def test_other_errors_are_not_postgresqls(error: Exception) -> None:
    settings = replace(Settings(), database_url="postgresql://nowhere")
    with pytest.raises(type(error)), open_database(settings):
        raise error


def test_lost_and_misconfigured_servers_are_unreachable() -> None:
    assert all(issubclass(one, UNREACHABLE) for one in (*CONNECTION_LOST, *MISCONFIGURED))
    assert explain(TimeoutError()) == "PostgreSQL does not answer; run this again later"
    assert is_from_postgresql(ConnectionRefusedError(111, "Connection refused"))


@pytest.fixture
async def url(own_server: Embedded) -> AsyncIterator[str]:
    connection = await asyncpg.connect(own_server.url)
    await connection.execute("CREATE DATABASE refusing")
    url = own_server.url.replace("/postgres?", "/refusing?")
    writing = await connect(url)
    await migrate(writing)
    await append_events(writing, "pbx", 7, 1, VARIETY[:3])
    await writing.close()
    yield url
    await connection.execute("DROP DATABASE refusing WITH (FORCE)")
    await connection.close()


def commands(ledger_file: Path, ami_file: Path) -> list[Sequence[str | Path]]:
    return [
        ("migrate",),
        ("status",),
        ("verify",),
        ("export", "--ami", "--pbx", "pbx"),
        ("export", "--output", ledger_file.with_name("other.jsonl.zst")),
        ("import", ledger_file),
        ("import", "--ami", "--pbx", "pbx", ami_file),
        ("archive", "--before", "2026-01", "--output", ledger_file.parent),
        ("redact", "--number", "5551234"),
        ("redact", "--number", "5551234", "--dry-run"),
        ("as-of", "1", "channels"),
        ("diff", "1", "2", "channels"),
        ("rebuild", "channels"),
        ("rebuild", "--diff", "channels"),
    ]


async def ran(url: str, data: Path, *words: str | Path, limits: Mapping[str, float] | None = None) -> Run:
    return await run_program(*words, limits=limits, environ=environment(url, data))


async def files(url: str, folder: Path) -> tuple[Path, Path]:
    await export_ledger(url, folder / "ledger.jsonl.zst")
    ami = folder / "events.ami"
    ami.write_bytes(b"Event: FullyBooted\r\n\r\n")
    return folder / "ledger.jsonl.zst", ami


async def explains(
    url: str, data: Path, says: str, *arguments: str | Path, limits: Mapping[str, float] | None = None
) -> None:
    code, _out, err = await ran(url, data, *arguments, limits=limits)
    assert code in {1, 2}, (arguments, code, err)
    assert "Traceback" not in err, (arguments, err)
    lines = [line for line in err.splitlines() if line.startswith("ringledger: ")]
    assert len(lines) == 1, (arguments, err)
    assert says in lines[0], (arguments, lines)


async def all_explain(url: str, data: Path, words: list[Sequence[str | Path]]) -> None:
    """Run commands at once while the server is frozen."""
    says = "PostgreSQL does not answer"
    await asyncio.gather(*(explains(url, data, says, *arguments, limits=LIMITS) for arguments in words))


async def test_no_command_ends_in_a_traceback_without_postgresql(url: str, tmp_path: Path) -> None:
    ledger, ami = await files(url, tmp_path)
    for arguments in commands(ledger, ami):
        await explains("postgresql://ringledger@127.0.0.1:1/none", tmp_path, "PostgreSQL does not answer", *arguments)


async def test_commands_have_no_traceback_without_connections(url: str, tmp_path: Path) -> None:
    ledger, ami = await files(url, tmp_path)
    async with crowded(url):
        for arguments in commands(ledger, ami):
            await explains(url, tmp_path, "PostgreSQL takes no more connections", *arguments)


async def test_every_command_ends_while_postgresql_is_frozen(url: str, own_server: Embedded, tmp_path: Path) -> None:
    ledger, ami = await files(url, tmp_path)
    with frozen(own_server):
        await all_explain(url, tmp_path, commands(ledger, ami))


async def test_commands_end_while_the_server_is_frozen(url: str, own_server: Embedded) -> None:
    data = own_server.cluster.data.parent
    ledger, ami = await files(url, own_server.cluster.data.parent)
    with frozen(own_server):
        await all_explain("", data, commands(ledger, ami))


async def test_a_ledger_of_another_version_is_named(url: str, tmp_path: Path) -> None:
    empty = url.replace("/refusing?", "/postgres?")
    code, _out, err = await ran(empty, tmp_path, "export", "--output", tmp_path / "x.jsonl.zst")
    assert (code, err.count("\n"), "Traceback" in err) == (2, 1, False)


async def test_migrate_names_a_running_migration(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.migrate.LOCK_TIMEOUT", "10ms")
    connection = await connect(url)
    environment = {"RINGLEDGER_DATABASE_URL": url}
    async with locked(connection, Lock.SCHEMA):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["migrate"], env=environment)
    assert done.exit_code == 2
    assert done.stderr.startswith("ringledger: PostgreSQL waits for a lock that something else holds: ")
    done = await asyncio.to_thread(CliRunner().invoke, app, ["migrate"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "nothing to do\n")
    await connection.close()
