"""Export, an empty database, import, rebuild: same tables, same chain; and nothing that was tampered with."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import zstandard

from projections import ALL
from schemas.log import NewEvent
from services.database.connection import connect
from services.database.migrate import migrate
from services.integrity.anchors import verify_with_anchors
from services.integrity.chain_walk import walk_chain
from services.integrity.verify import verify_log
from services.log.append import append_events
from services.log.read import head_position
from services.retention.redact import redact
from services.retention.redact_pattern import RedactionPattern
from services.transfer.export_ami import export_ami
from services.transfer.export_ledger import ExportError, export_ledger
from services.transfer.import_ledger import ImportRefusedError, check_files
from services.transfer.ledger_file import LedgerFileError, manifest_path
from tests.captures import wire
from tests.support.database import cloned, name_of
from tests.support.ledger import ingest_wire
from tests.support.log_clock import set_clock
from tests.support.polling import eventually
from tests.support.program import PROGRAM, environment, run_program
from tests.support.story import fold_log
from tests.support.transfer import import_files

TABLES = {
    "event": "SELECT * FROM ledger.event ORDER BY position",
    "batch": "SELECT * FROM ledger.batch ORDER BY first",
    "head": "SELECT position, hash, appended FROM ledger.head",
    "name": "SELECT * FROM ledger.name ORDER BY pbx, source, name",
    "connection": "SELECT * FROM ledger.connection ORDER BY pbx, connection",
}
BY_WRITER = """
SELECT pbx, connection, ordinal, occurred, recorded, source, name, raw FROM ledger.event WHERE pbx <> 'c'
ORDER BY pbx, connection, ordinal
"""
TOKEN = "redacted-gggggggggggg"
ODD = [b"", b"\0", b"\xff\xfe\n", "ü\u2028\r\n".encode(), b'"\\/' * 1000, bytes(range(256))]


def events(size: int, number: int, at: float = 1_795_000_000.5) -> list[NewEvent]:
    return [NewEvent("ami", "VarSet", at + i, at + i + 0.123457, b"%d" % (number + i)) for i in range(size)]


async def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(url)
    result = {name: [tuple(row) for row in await connection.fetch(query)] for name, query in TABLES.items()}
    await connection.close()
    return result


@pytest.fixture
async def story(url: str) -> str:
    """A log of two PBXes and of people, over two months, with odd bytes; 27 positions in 7 batches."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE ledger.head SET appended = '-infinity', month = '-infinity'")  # made long ago
    await set_clock(connection, "2026-08-31 23:59:59.000001+00")
    await append_events(connection, "a", 1, 1, events(4, 10))
    await append_events(
        connection, "b ü", 9, 1, [NewEvent("ami", "Ä", None, 0.000_001 + i, raw) for i, raw in enumerate(ODD)]
    )
    await append_events(connection, "", 5, 1, [NewEvent("ringledger", "TokenUsed", 1.5, 1.5, b"{}")])
    await set_clock(connection, "2026-10-01+00")
    await append_events(connection, "a", 1, 5, events(6, 20, 8_999_999_000.0))
    await append_events(connection, "b ü", 9, 7, events(3, 30))
    await append_events(connection, "a", 2, 1, events(3, 40))
    await append_events(connection, "a", 2, 4, events(4, 50))
    await connection.close()
    return url


@contextlib.asynccontextmanager
async def another(url: str, name: str) -> AsyncIterator[str]:
    """Give one more empty database."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    head, _, rest = url.partition("@/")
    yield f"{head}@/{name}?{rest.partition('?')[2]}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def recorded_url(postgresql_url: str, rich22_url: str) -> AsyncIterator[str]:
    """A database whose log has a recording."""
    async with cloned(postgresql_url, name_of(rich22_url)) as url:
        yield url


async def test_an_import_restores_tables_and_chain(recorded_url: str, empty_url: str, tmp_path: Path) -> None:
    url = recorded_url
    await ingest_wire(url, wire("rich16"), 65536)
    file, anchor = tmp_path / "all.jsonl.zst", tmp_path / "anchor"
    await verify_with_anchors(url, anchor, tmp_path)
    manifest = await export_ledger(url, file)
    assert (manifest.events, manifest.first, manifest.previous) == (38565 + 35146, 1, "00" * 32)
    [output] = await import_files(empty_url, file)
    assert output == f"positions 1 to {manifest.last}, in the same chain"
    assert await contents(empty_url) == await contents(url)
    verified, words = await verify_with_anchors(empty_url, anchor, tmp_path)
    assert verified.end.hash.hex() == manifest.hash
    assert words.startswith(f"1 anchor of {anchor} matches")
    assert await fold_log(empty_url, ALL) == await fold_log(url, ALL)
    assert await import_files(empty_url, file) == ["nothing to do, all events are already in the log"]
    assert (await walk_chain(empty_url)).events == manifest.events


async def test_months_times_and_odd_bytes_come_back_exactly(story: str, empty_url: str, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl.zst"
    await export_ledger(story, file)
    await import_files(empty_url, file)
    assert await contents(empty_url) == await contents(story)
    connection = await asyncpg.connect(empty_url)
    result = await connection.fetch("SELECT DISTINCT tableoid::regclass::text FROM ledger.event ORDER BY 1")
    assert [row[0] for row in result] == ["ledger.event_2026_08", "ledger.event_2026_10"]
    assert await append_events(connection, "a", 2, 8, events(1, 60)) == 28  # and the log continues there
    await connection.close()
    assert (await walk_chain(empty_url)).events == 28


async def test_the_file_is_for_people_too(story: str, tmp_path: Path) -> None:
    file = tmp_path / "b.jsonl.zst"
    await export_ledger(story, file, "b ü")
    lines = lines_of(file)
    assert [line["first"] for line in lines if "first" in line] == [5, 18]
    assert lines[4] == {
        "position": 8,
        "occurred": None,
        "recorded": 3000001,
        "source": "ami",
        "name": "Ä",
        "text": "ü\u2028\r\n",
    }
    assert "base64" in lines[3]
    manifest = json.loads(manifest_path(file).read_bytes())
    assert manifest["counts"] == [
        {"pbx": "b ü", "source": "ami", "name": "VarSet", "count": 3},
        {"pbx": "b ü", "source": "ami", "name": "Ä", "count": 6},
    ]
    assert manifest["sha256"] == sha256(file.read_bytes()).hexdigest()
    assert _names(tmp_path) == ["b.jsonl.zst", "b.jsonl.zst.manifest.json"]


@pytest.mark.parametrize(
    ("since", "until", "positions"),
    [
        (None, None, (1, 27)),
        (5, 10, (5, 10)),
        (6, 9, (5, 10)),  # batches are whole
        (4, 12, (1, 17)),
        (12, 10_000, (12, 27)),
        ("2026-08-31T23:59:59.000001Z", "2026-09-01T00:00:00Z", (1, 11)),
        ("2026-08-31T23:59:59.000002Z", None, (12, 27)),
        (None, "2026-10-01T02:00:00+02:00", (1, 11)),
        (None, "2026-10-01T02:00:00.000001+02:00", (1, 27)),
    ],
)
async def test_parts(story: str, tmp_path: Path, since: Any, until: Any, positions: tuple[int, int]) -> None:
    from services.log.bounds import parse_bound

    begin, end = (parse_bound(b) if isinstance(b, str) else b for b in (since, until))
    manifest = await export_ledger(story, tmp_path / "part.zst", None, begin, end)
    assert (manifest.first, manifest.last) == positions


async def test_nothing_is_no_file(story: str, empty_url: str, tmp_path: Path) -> None:
    for since, until in ((28, None), (None, 0), (20, 10)):
        with pytest.raises(ExportError, match="the log has no events between these bounds"):
            await export_ledger(story, tmp_path / "part.zst", None, since, until)
    with pytest.raises(ExportError, match="the log has no events of b ü between these bounds"):
        await export_ledger(story, tmp_path / "part.zst", "b ü", 12, 17)
    with pytest.raises(ExportError, match="no ledger"):
        await export_ledger(empty_url, tmp_path / "part.zst")
    connection = await asyncpg.connect(story)
    await connection.execute("UPDATE ledger.event SET raw = 'x' WHERE position = 12")
    await connection.close()
    with pytest.raises(ExportError, match="positions 12 to 17 differ from what was appended"):
        await export_ledger(story, tmp_path / "part.zst")
    assert _names(tmp_path) == []


def lines_of(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as compressed:
        data = zstandard.ZstdDecompressor().stream_reader(compressed).read()
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_parts_in_any_order_are_the_whole(story: str, empty_url: str, tmp_path: Path) -> None:
    parts = [tmp_path / name for name in ("c", "a", "b")]
    for part, (since, until) in zip(parts, ((18, None), (None, 11), (12, 17)), strict=True):
        await export_ledger(story, part, None, since, until)
    output = await import_files(empty_url, *parts)
    assert output == [f"positions {span}, in the same chain" for span in ("1 to 11", "12 to 17", "18 to 27")]
    assert await contents(empty_url) == await contents(story)


async def test_a_part_that_was_imported_goes_on(story: str, empty_url: str, tmp_path: Path) -> None:
    await export_ledger(story, tmp_path / "part", None, None, 11)
    await export_ledger(story, tmp_path / "all")
    await import_files(empty_url, tmp_path / "part")
    assert await import_files(empty_url, tmp_path / "all") == ["positions 12 to 27, in the same chain"]
    assert await contents(empty_url) == await contents(story)
    assert await import_files(empty_url, tmp_path / "part") == ["nothing to do, all events are already in the log"]


async def test_another_logs_events_are_appended_and_none_twice(story: str, empty_url: str, tmp_path: Path) -> None:
    other = await connect(empty_url)
    await migrate(other)
    await append_events(other, "c", 1, 1, events(5, 70))
    await export_ledger(story, tmp_path / "a", "a")
    await export_ledger(story, tmp_path / "all")
    assert await import_files(empty_url, tmp_path / "a") == ["17 new events of 17, at the end of the log"]
    assert await import_files(empty_url, tmp_path / "all") == ["10 new events of 27, at the end of the log"]
    for name in ("a", "all"):
        assert await import_files(empty_url, tmp_path / name) == ["nothing to do, all events are already in the log"]
    first = await asyncpg.connect(story)
    assert await other.fetch(BY_WRITER) == await first.fetch(BY_WRITER)
    await first.close()
    await other.close()
    assert (await walk_chain(empty_url)).events == 32


async def test_a_connection_may_begin_later_without_holes(story: str, empty_url: str, tmp_path: Path) -> None:
    for name, since, until in (("1", None, 11), ("2", 12, 17), ("3", 18, None)):
        await export_ledger(story, tmp_path / f"a{name}", "a", since, until)
    connection = await asyncpg.connect(story)
    await append_events(connection, "a", 1, 11, events(2, 80))
    await export_ledger(story, tmp_path / "a4", "a", 28, None)
    await connection.close()
    assert await import_files(empty_url, tmp_path / "a2") == ["6 new events of 6, at the end of the log"]
    before = await contents(empty_url)
    with pytest.raises(ImportRefusedError, match=r"has events 1 to 4 of .*, the log 5 to 10; earlier events cannot"):
        await import_files(empty_url, tmp_path / "a1")
    assert await contents(empty_url) == before
    assert (await walk_chain(empty_url)).events == 6
    async with another(story, "holed") as url:
        await import_files(url, tmp_path / "a1")
        with pytest.raises(
            ImportRefusedError,
            match=r"has events 11 to 12 of .*, the log 1 to 4; import the part before position 28 first",
        ):
            await import_files(url, tmp_path / "a4")
        for name in ("a2", "a4", "a3"):
            await import_files(url, tmp_path / name)
        assert (await walk_chain(url)).events == 19


async def test_a_diverged_log_is_another_log(story: str, empty_url: str, tmp_path: Path) -> None:
    await export_ledger(story, tmp_path / "part", None, None, 11)
    await export_ledger(story, tmp_path / "all")
    await import_files(empty_url, tmp_path / "part")
    connection = await asyncpg.connect(empty_url)
    await append_events(connection, "c", 1, 1, events(1, 90))
    await connection.close()
    assert await import_files(empty_url, tmp_path / "all") == ["16 new events of 27, at the end of the log"]
    assert (await walk_chain(empty_url)).events == 28


async def test_a_redacted_log_is_taken_along(story: str, empty_url: str, tmp_path: Path) -> None:
    """In the same chain the redactions hold; as new events they tell of another log, and may be redacted there too."""
    await redact(story, RedactionPattern("text", "30"), TOKEN)  # the name of no event, and a whole word of one
    await export_ledger(story, tmp_path / "before")
    connection = await asyncpg.connect(story)
    await append_events(
        connection, "a", 2, 8, [NewEvent("ami", "VarSet", None, 9.5, b"Event: VarSet\r\nValue: Jane Roe")]
    )
    await connection.close()
    await redact(story, RedactionPattern("text", "Jane Roe"), TOKEN)
    file = tmp_path / "all"
    manifest = await export_ledger(story, file)
    await import_files(empty_url, file)
    assert await contents(empty_url) == await contents(story)
    for url in (story, empty_url):
        assert [s.events for s in (await verify_log(url)).redactions] == [2]
    async with another(story, "elsewhere") as url:
        connection = await connect(url)
        await migrate(connection)
        await append_events(connection, "c", 1, 1, events(1, 90))
        output = await import_files(url, file)
        assert output == [f"{manifest.events} new events of {manifest.events}, at the end of the log"]
        assert (await verify_log(url)).redactions == []
        models = await connection.fetch("SELECT raw FROM ledger.event")
        assert not any(b"Jane" in row[0] for row in models)
        await redact(url, RedactionPattern("text", "50"), "redacted-hhhhhhhhhhhh")
        assert [s.token for s in (await verify_log(url)).redactions] == ["redacted-hhhhhhhhhhhh"]
        await connection.close()

    def forged(lines: Lines) -> None:
        [line] = [line for line in lines if line.get("text", "").endswith(f"Value: {TOKEN}")]
        line["text"] = "Event: VarSet\r\nValue: forged"

    rewritten(file, forged)
    with pytest.raises(LedgerFileError, match="event 29 differs from its redaction"):
        check_files([file])


Lines = list[dict[str, Any]]


def swap(lines: Lines) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def swap_contents(lines: Lines) -> None:
    for member in ("occurred", "recorded", "text"):
        lines[1][member], lines[2][member] = lines[2][member], lines[1][member]


def swap_batches(lines: Lines) -> None:
    heads = [i for i, line in enumerate(lines) if "first" in line]
    lines[heads[0] : heads[2]] = lines[heads[1] : heads[2]] + lines[heads[0] : heads[1]]


def drop_batch(lines: Lines) -> None:
    heads = [i for i, line in enumerate(lines) if "first" in line]
    del lines[heads[1] : heads[2]]


def altered(where: int, **members: Any) -> Callable[[Lines], None]:
    return lambda lines: lines[where].update(members)


TAMPERED: dict[str, tuple[Callable[[Lines], Any], str]] = {
    "an event's bytes": (altered(1, text="11"), "batch 1 to 4 is not what was sealed"),
    "an event's time": (altered(1, recorded=1), "batch 1 to 4 is not what was sealed"),
    "an event's occurred": (altered(1, occurred=None), "batch 1 to 4 is not what was sealed"),
    "an event's name": (altered(1, name="Hangup"), "batch 1 to 4 is not what was sealed"),
    "an event's source": (altered(1, source="ari"), "batch 1 to 4 is not what was sealed"),
    "a source that is none": (altered(1, source="sip"), "line 2: Invalid enum value 'sip'"),
    "an event's position": (altered(1, position=2), "line 2: event 2 is in the place of 1"),
    "a member too many": (altered(1, pbx="a"), "line 2: Object contains unknown field"),
    "bytes twice": (altered(1, base64="MTA="), "line 2: event 1 must have either text or base64"),
    "no bytes": (lambda lines: lines[1].pop("text"), "line 2: event 1 must have either text or base64"),
    "a name that no text can hold": (altered(1, name="a\0b"), "line 2: Expected `str` matching regex"),
    "a line missing": (lambda lines: lines.pop(2), "line 3: event 3 is in the place of 2"),
    "lines swapped": (swap, "line 2: event 2 is in the place of 1"),
    "contents swapped": (swap_contents, "batch 1 to 4 is not what was sealed"),
    "the last line missing": (lambda lines: lines.pop(), "the file ends before event 27"),
    "a line too many": (lambda lines: lines.append(lines[-1]), "Object contains unknown field"),
    "a batch missing": (drop_batch, "batch 11 to 11 follows position 4"),
    "the last batches missing": (lambda lines: lines.__delitem__(slice(-9, None)), "lists other batches or events"),
    "batches swapped": (swap_batches, "batch 5 to 10 follows position 0"),
    "a batch's pbx": (altered(0, pbx="x"), "batch 1 to 4 is not what was sealed"),
    "a batch's connection": (altered(0, connection=7), "batch 1 to 4 is not what was sealed"),
    "a batch's ordinal": (altered(0, ordinal=7), "batch 1 to 4 is not what was sealed"),
    "a batch's time": (altered(0, appended=7), "batch 1 to 4 is not what was sealed"),
    "a batch's hash": (altered(0, hash="0" * 64), "batch 1 to 4 is not what was sealed"),
    "a batch's previous": (altered(0, previous="1" * 64), "batch 1 to 4 does not follow the batch before it"),
    "a batch that ends early": (altered(0, last=3), "line 1: the batch has more or fewer salts than events"),
    "a batch's salts": (altered(0, salts="A" * 86 + "=="), "batch 1 to 4 is not what was sealed"),
    "no salts": (altered(0, salts=""), "line 1: the batch has more or fewer salts than events"),
    "another leaf than was sealed": (altered(1, sealed="0" * 64), "batch 1 to 4 is not what was sealed"),
    "a leaf that is none": (altered(1, sealed="x"), "line 2: Expected `str` matching regex"),
    "a batch that ends before it begins": (altered(0, last=0), "line 1"),
    "nothing": (lambda lines: lines.clear(), "lists other batches or events"),
}
MANIFEST: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": 2}, "format 2 is not supported; this program reads 1"),
    "pbx": ({"pbx": "a"}, "batch 5 to 10 is of 'b ü'"),
    "first": ({"first": 2}, "batch 1 to 4 follows position 1"),
    "last": ({"last": 28}, "lists other batches or events"),
    "batches": ({"batches": 8}, "lists other batches or events"),
    "events": ({"events": 28}, "lists other batches or events"),
    "counts": ({"counts": []}, "lists other batches or events"),
    "previous": ({"previous": "1" * 64}, "batch 1 to 4 does not follow the batch before it"),
    "hash": ({"hash": "1" * 64}, "lists other batches or events"),
    "sha256": ({"sha256": "1" * 64}, "its SHA-256 is not the one in"),
    "a member too many": ({"x": 1}, "is damaged"),
}


async def refused(url: str, file: Path, output: str) -> None:
    """Show that `import` refuses a file with one line, and that the database is as it was."""
    before = await contents(url)
    code, out, err = await run_program("import", file, environ=environment(url))
    assert (code, out) == (2, "")
    assert output in err
    assert err.startswith("ringledger: ")
    assert err.count("\n") == 1
    assert await contents(url) == before


def rewritten(file: Path, change: Callable[[Lines], Any]) -> None:
    """Change a file's lines, and put the new SHA-256 into its manifest, as a skilled forger would."""
    lines = lines_of(file)
    change(lines)
    file.write_bytes(zstandard.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    again(file)


def again(file: Path, **members: Any) -> None:
    manifest = json.loads(manifest_path(file).read_bytes())
    data = file.read_bytes()
    manifest |= {"sha256": sha256(data).hexdigest(), "size": len(data)} | members
    manifest_path(file).write_text(json.dumps(manifest))


@pytest.mark.parametrize("case", TAMPERED)
async def test_a_tampered_file_with_its_hash_is_refused(story: str, tmp_path: Path, case: str) -> None:
    file = tmp_path / "all.zst"
    await export_ledger(story, file)
    change, output = TAMPERED[case]
    rewritten(file, change)
    with pytest.raises(LedgerFileError) as result:
        check_files([file])
    assert output in str(result.value)
    assert "\n" not in str(result.value)


@pytest.mark.parametrize("case", MANIFEST)
async def test_a_wrong_manifest_is_refused(story: str, tmp_path: Path, case: str) -> None:
    file = tmp_path / "all.zst"
    await export_ledger(story, file)
    members, output = MANIFEST[case]
    again(file, **members)
    with pytest.raises(LedgerFileError) as result:
        check_files([file])
    assert output in str(result.value)
    assert "\n" not in str(result.value)


async def test_the_command_refuses_and_changes_nothing(url: str, story: str, empty_url: str, tmp_path: Path) -> None:
    target = await connect(empty_url)
    await migrate(target)
    await target.close()
    file, good = tmp_path / "all.zst", tmp_path / "good.zst"
    await export_ledger(story, file)
    await export_ledger(story, good)
    data = file.read_bytes()
    for at in (0, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        await refused(empty_url, file, "its SHA-256 is not the one in")
    file.write_bytes(data[:-20])
    await refused(empty_url, file, "its SHA-256 is not the one in")
    again(file)
    await refused(empty_url, file, "lists other batches or events")
    file.write_bytes(b"not zstd")
    again(file)
    await refused(empty_url, file, "cannot be decompressed after line 0")
    file.write_bytes(data)
    again(file)
    rewritten(file, altered(1, text="x"))
    await refused(empty_url, file, "batch 1 to 4 is not what was sealed")
    manifest_path(file).unlink()
    await refused(empty_url, file, "all.zst.manifest.json: No such file")
    await refused(empty_url, tmp_path / "nosuch", "nosuch: No such file")
    assert (await walk_chain(url)).events == 27


STOPS = """
CREATE FUNCTION stops_there() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.last > 20000 THEN PERFORM pg_sleep(3600); END IF; RETURN NEW; END';
CREATE TRIGGER stops BEFORE INSERT ON ledger.batch FOR EACH ROW EXECUTE FUNCTION stops_there()
"""
"""An import comes to no more than the middle of the log."""
GONE = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'ringledger import'"


async def test_killed_in_the_middle_and_run_again(recorded_url: str, tmp_path: Path) -> None:
    url, file = recorded_url, tmp_path / "all.zst"
    await export_ledger(url, file)
    expected, models = await contents(url), await fold_log(url, ALL)
    for pbx in ("", "pbx"):  # in the same chain, and as another log's events
        if pbx:
            await export_ledger(url, file, pbx)
        async with another(url, f"killed{pbx}") as target:
            watching = await connect(target)
            await migrate(watching)
            await watching.execute(STOPS)
            environ = environment(target)
            process = await asyncio.create_subprocess_exec(PROGRAM, "import", file, env=environ)
            at = await eventually(partial(head_position, watching), "the first import's events")
            assert process.returncode is None
            process.kill()
            await process.wait()
            await watching.execute(GONE)
            await watching.execute("DROP TRIGGER stops ON ledger.batch")
            assert at < 38565
            assert (await walk_chain(target)).events >= at
            await import_files(target, file)
            await watching.close()
            got = await contents(target)
            if not pbx:
                assert got == expected
            assert [row[:5] + row[6:] for row in got["event"]] == [row[:5] + row[6:] for row in expected["event"]]
            assert await fold_log(target, ALL) == models
            assert (await walk_chain(target)).events == 38565


async def test_the_bytes_of_a_pbx_between_two_bounds(story: str) -> None:
    out = io.BytesIO()
    assert await export_ami(story, "a", out, 3, 13) == 4
    assert out.getvalue() == b"12132021"
