"""`ringledger redact` as a person runs it."""

import re
from pathlib import Path

import asyncpg

from schemas.log import NewEvent
from services.log.append import append_events
from services.log.read import head_position
from tests.support.program import Run, environment, run_program
from tests.support.redacting import ALL_EVENTS, NUMBER, VARIETY, fold, fold_from_scratch, tables, tables_holding

NOTHING = """\
nothing to do: neither the log nor a read model contains it
2 events contain the same characters within something else; left unchanged
"""


async def run(url: str, data: Path, *words: str, stdin: str = "") -> Run:
    return await run_program(*words, stdin=stdin, environ=environment(url, data))


async def test_the_command(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    """It never repeats the number; a second run has nothing to do; a dry run and bad input change nothing."""
    data = tmp_path / "data"
    await append_events(connection, "pbx", 7, 1, VARIETY)
    await fold(connection)
    before = await connection.fetch(ALL_EVENTS)
    output = []

    async def ran(*arguments: str, stdin: str = "") -> Run:
        done = await run(url, data, "redact", *arguments, stdin=stdin)
        output.append(done.out + done.err)
        return done

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
        code, out, err = await run(url, data, "verify", *more)
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
        done = await run(url, tmp_path, "verify", *more)
        assert done == (1, "event 2 (Redacted) is malformed\n", "")
    assert not (tmp_path / "anchor").exists()


async def test_without_a_ledger_and_without_a_database(empty_url: str, tmp_path: Path) -> None:
    nothing = await run(empty_url, tmp_path, "redact", "--number", NUMBER)
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)
    assert "`ringledger migrate`" in nothing.err
    nowhere = await run("postgresql://127.0.0.1:1/x", tmp_path, "redact", "--number", NUMBER)
    assert (nowhere.code, nowhere.err.count("\n")) == (1, 1)
    assert "PostgreSQL does not answer" in nowhere.err
