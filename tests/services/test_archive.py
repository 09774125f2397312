"""``ringledger archive``: months leave the log, and everything goes on from where it then begins."""

from pathlib import Path

import asyncpg
import msgspec

from schemas.log import Archived
from services import edge
from services.ledger_file import read_manifest
from tests.services.archiving import appended, archived, fold, forget_models, tables

ARCHIVED = "SELECT raw FROM ledger.event WHERE source = 'ringledger' AND name = 'Archived' ORDER BY position"


async def test_months_leave_the_log_and_models_are_what_they_were(url: str, tmp_path: Path) -> None:
    ends = await appended(url)
    await fold(url)
    before = await tables(url)
    done = await archived(url, tmp_path, "2026-05")
    assert [one.file.name for one in done.written] == ["2026-03.jsonl.zst", "2026-04.jsonl.zst"]
    assert done.begins == ends[1] + 1
    assert await tables(url) == before
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT min(position) FROM ledger.event") == ends[1] + 1
    assert await connection.fetchval("SELECT min(first) FROM ledger.batch") == ends[1] + 1
    assert await connection.fetchval("SELECT count(*) FROM archived.event_2026_03") == ends[0]
    told = [msgspec.json.decode(raw, type=Archived) for (raw,) in await connection.fetch(ARCHIVED)]
    rows = (await edge.read(connection)).archives
    manifests = [read_manifest(one.file) for one in done.written]
    assert [(a.month, a.first, a.last, a.previous, a.hash, a.file, a.sha256) for a in told] == [
        (r.month, r.first, r.last, r.previous.hex(), r.hash.hex(), r.file, r.sha256.hex()) for r in rows
    ]
    assert [(m.first, m.last, m.previous, m.hash, m.sha256) for m in manifests] == [
        (a.first, a.last, a.previous, a.hash, a.sha256) for a in told
    ]
    await connection.close()
    # The two events Archived are folded too, and change nothing but the position.
    await fold(url)
    rebuilt = await tables(url)
    await forget_models(url)
    await fold(url)
    assert await tables(url) == rebuilt
    assert {name: rows for name, rows in rebuilt.items() if name != "states"} == {
        name: rows for name, rows in before.items() if name != "states"
    }
