"""`ringledger redact` as a person runs it."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

import asyncpg

from schemas.log import NewEvent
from services.log.append import append_events
from services.log.read import head_position
from tests.support.redacting import (
    ALL_EVENTS,
    NUMBER,
    PROGRAM,
    VARIETY,
    fold,
    fold_from_scratch,
    run_redact,
    tables,
    tables_holding,
)

NOTHING = """\
nothing to do: neither the log nor a read model contains it
2 events contain the same characters within something else; left unchanged
"""


def verify(url: str, data: Path, *arguments: str) -> tuple[int, str, str]:
    environ = {"PATH": os.environ["PATH"], "RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(data)}
    done = subprocess.run([PROGRAM, "verify", *arguments], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_the_command(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    """It never repeats the number; a second run has nothing to do; a dry run and bad input change nothing."""
    data = tmp_path / "data"
    await append_events(connection, "pbx", 7, 1, VARIETY)
    await fold(connection)
    before = await connection.fetch(ALL_EVENTS)
    output = []

    async def ran(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        done = await asyncio.to_thread(run_redact, url, data, *arguments, stdin=stdin)
        output.append(done.stdout + done.stderr)
        return done.returncode, done.stdout, done.stderr

    assert await ran("--number", "12") == (
        2,
        "",
        "ringledger: --number: must be 3 to 20 digits, with an optional + before them\n",
    )
    assert (await ran())[0] == (await ran("--number", NUMBER, "--text", "Jane Roe"))[0] == 2
    assert (await ran("--number", NUMBER, "--reason", f"of {NUMBER}"))[0] == 2
    code, out, _ = await ran("--number", NUMBER, "--dry-run")
    assert code == 0
    assert "9 events contain it (positions 1 to 9):\n" in out
    assert "read models that contain it: calls, channels, links\n" in out
    assert await connection.fetch(ALL_EVENTS) == before

    code, out, _ = await ran("--number", "-", "--reason", "asked for it", stdin=f"+{NUMBER}\n")
    assert code == 0
    assert re.match(r"redacted-[g-v]{12}: 9 events redacted \(positions 1 to 9\):\n", out)
    assert "read models rebuilt: agent_sessions, call_records, calls, channels, " in out
    head = await head_position(connection)
    name = out.partition(":")[0]
    for more in ([], ["--anchor", str(tmp_path / "anchor")]):
        code, out, err = await asyncio.to_thread(verify, url, data, *more)
        honest, records = out.splitlines()
        assert (code, err) == (0, "")
        assert honest.startswith("honest: 11 events in 2 batches up to position 11, hash ")
        assert re.fullmatch(rf"{name}: a number in 9 events, [-0-9: ]{{16}} UTC, by \S+: asked for it", records)
    code, out, _ = await ran("--number", NUMBER)
    assert (code, out) == (0, NOTHING)
    assert await head_position(connection) == head
    assert NUMBER not in "".join(output)
    assert await tables_holding(connection, NUMBER) == []
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_a_redaction_that_was_made_up_is_named(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    output = NewEvent("ringledger", "Redacted", 1.0, 1.0, b'{"type":"Redacted","position":2}')
    await append_events(connection, "pbx", 7, 1, [VARIETY[0], output])
    for more in ([], ["--anchor", str(tmp_path / "anchor")]):
        done = await asyncio.to_thread(verify, url, tmp_path, *more)
        assert done == (1, "event 2 (Redacted) is malformed\n", "")
    assert not (tmp_path / "anchor").exists()


async def test_without_a_ledger_and_without_a_database(empty_url: str, tmp_path: Path) -> None:
    nothing = await asyncio.to_thread(run_redact, empty_url, tmp_path, "--number", NUMBER)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "`ringledger migrate`" in nothing.stderr
    nowhere = await asyncio.to_thread(run_redact, "postgresql://127.0.0.1:1/x", tmp_path, "--number", NUMBER)
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "PostgreSQL does not answer" in nowhere.stderr
