"""``ringledger archive``: months leave the log, and models and chain continue from its new start."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import zstandard

import services.integrity.verify
from schemas.log import Archived, NewEvent
from services.database.connection import connect
from services.database.migrate import migrate
from services.integrity import archives as archive_check
from services.integrity.anchors import verify_with_anchors
from services.integrity.archives import StrayFileError, summary_line
from services.integrity.chain_walk import Verification, walk_chain
from services.integrity.damage import BatchBoundary, DamageError
from services.integrity.verify import verify_log
from services.log.append import append_events
from services.log.archives import read_catalog
from services.retention.redact import redact
from services.retention.redact_pattern import RedactionPattern
from services.transfer.export_ledger import export_ledger
from services.transfer.ledger_file import LedgerFileError, manifest_path, read_manifest
from tests.support.archiving import append_months, drop_models, fold, model_state, month, run_archive
from tests.support.log_clock import set_clock

SIZE = 2_000
"""Positions 1 to 501, 1002, 1503 and 2000 are of one month each."""

ARCHIVED = "SELECT raw FROM ledger.event WHERE source = 'ringledger' AND name = 'Archived' ORDER BY position"


@asynccontextmanager
async def undone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Put the rows of ledger.archive back afterwards."""
    await connection.execute("CREATE TABLE before AS TABLE ledger.archive")
    yield
    await connection.execute("DELETE FROM ledger.archive; INSERT INTO ledger.archive TABLE before; DROP TABLE before")


async def other_file(url: str, folder: Path) -> Path:
    """Write a file of a log that has nothing to do with the test's: it begins with position 3."""
    connection = await connect(url)
    await migrate(connection)
    await append_events(connection, "pbx", 1, 1, [NewEvent("ami", "X", None, 1.0, b"x")] * 2)
    await append_events(connection, "pbx", 1, 3, [NewEvent("ami", "X", None, 1.0, b"x")] * 2)
    await connection.close()
    await export_ledger(url, folder / "other.jsonl.zst", None, 3, 4)
    return folder / "other.jsonl.zst"


async def test_an_archive_changes_no_model(url: str, tmp_path: Path) -> None:
    ends = await append_months(url)
    await fold(url)
    before = await model_state(url)
    done = await run_archive(url, tmp_path, "2026-05")
    assert [one.path.name for one in done.files] == ["2026-03.jsonl.zst", "2026-04.jsonl.zst"]
    assert done.first_position == ends[1] + 1
    assert await model_state(url) == before
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT min(position) FROM ledger.event") == ends[1] + 1
    assert await connection.fetchval("SELECT min(first) FROM ledger.batch") == ends[1] + 1
    assert await connection.fetchval("SELECT count(*) FROM archived.event_2026_03") == ends[0]
    records = [msgspec.json.decode(raw, type=Archived) for (raw,) in await connection.fetch(ARCHIVED)]
    rows = (await read_catalog(connection)).archives
    manifests = [read_manifest(one.path) for one in done.files]
    assert [(a.month, a.first, a.last, a.previous, a.hash, a.file, a.sha256) for a in records] == [
        (r.month, r.first, r.last, r.previous.hex(), r.hash.hex(), r.file, r.sha256.hex()) for r in rows
    ]
    assert [(m.first, m.last, m.previous, m.hash, m.sha256) for m in manifests] == [
        (a.first, a.last, a.previous, a.hash, a.sha256) for a in records
    ]
    await connection.close()
    # The two events Archived are folded too, and change nothing but the position.
    await fold(url)
    rebuilt = await model_state(url)
    await drop_models(url)
    await fold(url)
    assert await model_state(url) == rebuilt
    assert {name: rows for name, rows in rebuilt.items() if name != "states"} == {
        name: rows for name, rows in before.items() if name != "states"
    }


async def test_the_chain_holds_across_archives(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, SIZE)
    anchor = tmp_path / "anchor"
    whole, _ = await verify_with_anchors(url, anchor, tmp_path)
    first = await run_archive(url, tmp_path, "2026-04")
    second = await run_archive(url, tmp_path, "2026-06")
    files = [one.path for one in (*first.files, *second.files)]
    assert [file.name for file in files] == ["2026-03.jsonl.zst", "2026-04.jsonl.zst", "2026-05.jsonl.zst"]
    verified = await verify_log(url)
    assert (verified.archives.position, verified.events) == (ends[2], ends[3] - ends[2] + 3)
    assert summary_line(verified.archives, verified.checked).endswith(
        "not checked: 2026-03.jsonl.zst, 2026-04.jsonl.zst, 2026-05.jsonl.zst"
    )
    # The anchor is at the end of the last month, so no file is required.
    assert (await verify_with_anchors(url, anchor, tmp_path))[1].startswith(f"1 anchor of {anchor} matches")
    proved = await verify_log(url, {whole.end.position, ends[0] - 1}, files)
    assert proved.hashes[whole.end.position] == whole.end.hash
    assert summary_line(proved.archives, proved.checked).endswith("; 3 files match")
    assert (await verify_log(url, files=files[1:])).checked == {"2026-04", "2026-05"}


async def test_verify_starts_over_during_an_archive(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = await append_months(url, SIZE)
    starts: list[int] = []

    async def archiving(url: str, marks: object, start: BatchBoundary, *rest: Any) -> Verification:
        starts.append(start.position)
        if len(starts) == 1:
            await run_archive(url, tmp_path, "2026-04")
        return await walk_chain(url, marks, start, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(services.integrity.verify, "walk_chain", archiving)
    verified = await verify_log(url)
    assert (starts, verified.archives.position) == ([0, ends[0]], ends[0])


async def test_redacted_archives_match_their_redactions(url: str, tmp_path: Path) -> None:
    await append_months(url, SIZE)
    number = RedactionPattern("number", "201")
    done = await redact(url, number, "redacted-ghijklmnopqr")
    assert done.first <= 501
    files = [one.path for one in (await run_archive(url, tmp_path, "2026-06")).files]
    verified = await verify_log(url, files=files)
    assert [summary.events for summary in verified.redactions] == [done.events.total()]
    with pytest.raises(DamageError, match=r"differs from its redaction, or from what was sealed"):
        archive_check.check_files(verified.archives, files, [])
    connection = await connect(url)
    await set_clock(connection, month(4))
    # Now the event Redacted is archived itself: with its file all is proved, without it the rest of what can be.
    files += [one.path for one in (await run_archive(url, tmp_path, "2026-07")).files]
    await redact(url, RedactionPattern("number", "202"), "redacted-mnopqrghijkl")
    assert (await verify_log(url, files=files)).checked == {"2026-03", "2026-04", "2026-05", "2026-06"}
    assert (await verify_log(url, files=files[:3])).checked == {"2026-03", "2026-04", "2026-05"}
    await connection.close()


async def test_an_anchor_of_an_archive_requires_the_file(url: str, tmp_path: Path) -> None:
    connection = await connect(url)
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")
    anchor = tmp_path / "anchor"
    for number in range(2):
        await set_clock(connection, month(number))
        for ordinal in range(4 * number + 1, 4 * number + 5):
            await append_events(connection, "pbx", 1, ordinal, [NewEvent("ami", "X", None, 1.0, b"x")])
            await verify_with_anchors(url, anchor, tmp_path)
    await connection.close()
    done = await run_archive(url, tmp_path, "2026-04")
    _, output = await verify_with_anchors(url, anchor, tmp_path)
    # The last of the four in March is at the start of the log.
    assert output == (
        f"5 anchors of {anchor} match (3 of archived months not checked: pass their files with --archive),"
        " and one was added"
    )
    _, output = await verify_with_anchors(url, anchor, tmp_path, [one.path for one in done.files])
    assert output == f"9 anchors of {anchor} match, and one was added"


async def test_changes_of_rows_and_files_are_named(url: str, empty_url: str, tmp_path: Path) -> None:
    await append_months(url, SIZE)
    done = await run_archive(url, tmp_path, "2026-05")
    march, april = (one.path for one in done.files)
    connection = await asyncpg.connect(url)
    for change, says in (
        (
            "hash = sha256(hash) WHERE month = '2026-04-01'",
            "archive 502 altered: 2026-04 differs from the Archived event",
        ),
        ("last = last + 1 WHERE month = '2026-03-01'", "archive 502 altered: 2026-04 does not follow position 502"),
        (
            "sha256 = sha256(sha256) WHERE month = '2026-03-01'",
            "archive 1 altered: 2026-03 differs from the Archived event",
        ),
        ("counts = jsonb_set(counts, '{0,3}', '7')", "miscounted: ledger.name has"),
    ):
        async with undone(connection):
            await connection.execute(f"UPDATE ledger.archive SET {change}")
            with pytest.raises(DamageError, match=says):
                await verify_log(url)
    async with undone(connection):
        await connection.execute("DELETE FROM ledger.archive")
        with pytest.raises(DamageError, match="missing"):
            await verify_log(url)
    await connection.close()
    with pytest.raises(StrayFileError, match="contains no archived month of this log"):
        await verify_log(url, files=[await other_file(empty_url, tmp_path)])
    again = tmp_path / "again.jsonl.zst"
    again.write_bytes(zstandard.compress(zstandard.decompress(march.read_bytes(), 1 << 30), 9))
    manifest = json.loads(manifest_path(march).read_text()) | {"sha256": sha256(again.read_bytes()).hexdigest()}
    manifest_path(again).write_text(json.dumps(manifest))
    with pytest.raises(DamageError, match=r"is not the file that was archived as 2026-03\.jsonl\.zst"):
        await verify_log(url, files=[again])
    damaged = bytearray(april.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    april.write_bytes(damaged)
    with pytest.raises(LedgerFileError, match=r"2026-04\.jsonl\.zst: its SHA-256 is not the one"):
        await verify_log(url, files=[march, april])
