"""Records from before the first link are imported once, and statistics cover them."""

import asyncio
import io
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from projections import ALL
from projections.calls.call_records import CALL_RECORDS
from projections.calls.statistics import STATISTICS
from schemas.log import Connected, NewEvent
from services.database.connection import connect
from services.database.migrate import migrate
from services.integrity.chain_walk import walk_chain
from services.log.append import append_events
from services.log.read import head_position
from services.transfer.asterisk_files import AsteriskFileError
from services.transfer.export_ami import export_ami
from services.transfer.import_asterisk import import_asterisk
from services.transfer.import_content import FileKind, read_contents
from services.transfer.import_ledger import NOTHING, ImportRefusedError
from services.transfer.timezones import TimezoneError
from tests.captures import truth, wire
from tests.support.asterisk_files import cdr, fetch_log, fetch_openings, fetch_rows, run_import
from tests.support.call_records import CALL_EVENTS, CAPTURES
from tests.support.folding import own
from tests.support.ledger import ingest_wire
from tests.support.program import PROGRAM, environment
from tests.support.story import append, event, events_of, fold_log

# Columns that a line of Master.csv cannot fill, and those that tell of the log and not of the call.
UNSAID = {"agent_name", "linked_id", "sequence"}
OURS = {"tm_update", "position"}
# Only queues say these, in events of their own.
QUEUES_OWN = {"label", "entered", "connected", "abandoned", "wait_seconds"}


async def imported(url: str, file: Path, kind: FileKind, timezone: str = "", pbx: str = "pbx") -> str:
    [output] = [output async for output in import_asterisk(url, read_contents([file], kind), pbx, timezone)]
    return output.removeprefix(f"{file}: ")


def without(row: asyncpg.Record, columns: set[str]) -> tuple[Any, ...]:
    return tuple((name, str(value)) for name, value in row.items() if name not in columns)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: str(capture[0]))
async def test_statistics_of_master_csv_equal_those_of_ami(
    url: str, empty_url: str, tmp_path: Path, capture: tuple[str, int, int]
) -> None:
    name, records, after = capture
    lines = truth(name, "Master.csv").splitlines(keepends=True)[:-after]  # the rest came after the recorder stopped
    file = tmp_path / "Master.csv"
    file.write_text("".join(lines))
    await append(url, events_of(wire(name), *CALL_EVENTS))
    output = await imported(empty_url, file, "cdr_csv", "UTC")
    assert output == f"{records} events of cdr_csv; local times read as UTC"
    models = (CALL_RECORDS, STATISTICS)
    received, brought = await fold_log(url, models), await fold_log(empty_url, models)
    left = Counter(without(row, UNSAID | OURS) for row in brought["call_records"])
    assert left == Counter(without(row, UNSAID | OURS) for row in received["call_records"])
    assert {row[column] for row in brought["call_records"] for column in UNSAID} == {None, ""}
    own = QUEUES_OWN | OURS
    mine = {without(row, own) for row in brought["statistics"]}
    assert mine == {without(row, own) for row in received["statistics"] if row["calls"]}
    assert len(mine) == len(brought["statistics"]) > 50
    assert {row[column] for row in brought["statistics"] for column in QUEUES_OWN} == {0, ""}
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT count(*) FROM ledger.unfit") == 0
    await connection.close()


async def test_lines_are_imported_byte_for_byte(url: str, tmp_path: Path) -> None:
    file = tmp_path / "Master.csv"
    odd = cdr("2026-11-01 10:00:00", "2026-11-01 10:00:30", 30, destination="a\nb, c").encode()
    data = odd + b"\xff\0".join([b'"', b"x" + odd[1:]]) + odd.rstrip(b"\n")
    file.write_bytes(data)
    assert await imported(url, file, "cdr_csv", "UTC") == "3 events of cdr_csv; local times read as UTC"
    result = await fetch_rows(url)
    assert b"".join(row["raw"] for row in result) == data
    assert {(row["source"], row["name"], row["alike"]) for row in result} == {("cdr_csv", "Cdr", True)}
    assert {row["occurred"] for row in result} == {1793527230.0}
    tables = await fold_log(url, (CALL_RECORDS,))
    assert [r["destination"] for r in tables["call_records"]] == ["a\nb, c"] * 3
    assert (await walk_chain(url)).events == 4
    [opening] = await fetch_openings(url)
    assert (opening.file, opening.events, opening.first, opening.last) == ("Master.csv", 3, 1793527230.0, 1793527230.0)


@pytest.mark.parametrize("name", ["rich22", "rich16"])
async def test_queue_log_is_in_the_log(url: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / "queue_log"
    file.write_text(truth(name, "queue_log"))
    lines = [line.split("|") for line in truth(name, "queue_log").splitlines()]
    await imported(url, file, "queue_log")
    result = await fetch_rows(url)
    assert [(row["source"], row["name"], row["occurred"]) for row in result] == [
        ("queue_log", line[4], float(line[0])) for line in lines
    ]
    assert b"".join(row["raw"] for row in result) == file.read_bytes()
    tables = await fold_log(url, ALL)
    callers = sum(line[4] == "ENTERQUEUE" for line in lines)
    assert {model: len(result) for model, result in tables.items() if result} == {
        "agent_sessions": 19,
        "calls": callers,
    }
    assert (await walk_chain(url)).events == len(lines) + 1


async def test_lines_during_a_link_are_skipped(url: str, tmp_path: Path) -> None:
    file = tmp_path / "Master.csv"
    file.write_text("".join(cdr(f"2026-11-01 10:00:{n:02}", f"2026-11-01 10:01:{n:02}", 60) for n in range(30)))
    connected = datetime(2026, 11, 1, 10, 1, 20, tzinfo=UTC).timestamp()
    await append(url, [own(Connected("pbx"), connected + 5), own(Connected("pbx"), connected)])
    await append(url, [own(Connected("pbx"), connected - 15)], "other")
    output = await imported(url, file, "cdr_csv", "UTC")
    assert (
        output == "20 events of cdr_csv; 10 skipped: the listener was connected at that time; local times read as UTC"
    )
    assert [row["occurred"] - connected for row in await fetch_rows(url)] == [n - 20 for n in range(20)]
    # Imported AMI counts as received, too.
    values = [event("Cdr", {"Timestamp": connected - 15 + n, "Channel": "x"}).raw for n in range(5)]
    (tmp_path / "heard.ami").write_bytes(b"".join(values))
    assert await imported(url, tmp_path / "heard.ami", "ami", pbx="b") == "5 events of ami"
    assert (await imported(url, file, "cdr_csv", "UTC", "b")).startswith("25 events of cdr_csv; 5 skipped")


@pytest.mark.parametrize("off", [-600, 600])
async def test_lines_are_skipped_by_their_pbx_clock(url: str, tmp_path: Path, off: int) -> None:
    connected = 1795428000.0  # 2026-11-23T10:00:00Z by our clock
    received = NewEvent("ami", "FullyBooted", connected + 1 + off, connected + 1, b"Event: FullyBooted\r\n\r\n")
    await append(url, [own(Connected("a:1"), connected), received])
    times = [datetime.fromtimestamp(connected + off + seconds, UTC) for seconds in (-30, 30)]
    file = tmp_path / "Master.csv"
    file.write_text("".join(cdr(f"{end:%Y-%m-%d %H:%M:%S}", f"{end:%Y-%m-%d %H:%M:%S}", 0) for end in times))
    output = await imported(url, file, "cdr_csv", "UTC")
    assert output == "1 events of cdr_csv; 1 skipped: the listener was connected at that time; local times read as UTC"
    [line] = [row for row in await fetch_rows(url) if row["source"] == "cdr_csv"]
    assert line["occurred"] == connected + off - 30


async def test_a_grown_file_adds_only_new_lines(url: str, tmp_path: Path) -> None:
    lines = [cdr(f"2026-11-01 10:00:{n:02}", f"2026-11-01 10:01:{n:02}", 60) for n in range(30)]
    file, again, grown = tmp_path / "Master.csv", tmp_path / "same", tmp_path / "grown"
    file.write_text("".join(lines[:10] + lines[:2]))
    again.write_text(file.read_text())
    grown.write_text("".join(lines[:10] + lines[:2] + lines[:3] + lines[10:]))
    await imported(url, file, "cdr_csv", "UTC")
    before = await fetch_log(url)
    for same in (file, again):
        assert await imported(url, same, "cdr_csv") == NOTHING
        assert await imported(url, same, "cdr_csv", "UTC") == NOTHING
    with pytest.raises(ImportRefusedError, match=r"was already imported as cdr_csv with --timezone UTC"):
        await imported(url, file, "cdr_csv", "Europe/Berlin")
    assert await fetch_log(url) == before
    output = await imported(url, grown, "cdr_csv", "UTC")
    assert output.startswith("23 events of cdr_csv; 12 skipped: imported before from another file")
    assert Counter(row["raw"].decode() for row in await fetch_rows(url)) == Counter(lines + lines[:3] + lines[:2])
    assert await imported(url, grown, "cdr_csv") == NOTHING
    assert (await imported(url, file, "cdr_csv", "UTC", "b")).startswith("12 events")


BERLIN = [
    ("2026-07-01 12:00:00", "2026-07-01 12:00:30", 30, "1782900000.1", 1782900030),
    ("2026-10-25 02:30:00", "2026-10-25 02:30:30", 30, "1792888200.2", 1792888230),  # the first of two
    ("2026-10-25 02:30:00", "2026-10-25 02:30:30", 30, "1792891800.3", 1792891830),  # the second
    ("2026-10-25 02:59:50", "2026-10-25 02:00:20", 30, "1792889990.4", 1792890020),  # over the change
    ("2026-12-01 12:00:00", "2026-12-01 12:00:30", 30, "1796122800.5", 1796122830),
    ("2026-12-01 12:00:00", "2026-12-01 12:00:30", 30, "", 1796122830),
]


async def test_local_times_through_the_year(url: str, tmp_path: Path) -> None:
    file = tmp_path / "Master.csv"
    file.write_text("".join(cdr(*line[:4]) for line in BERLIN))
    await imported(url, file, "cdr_csv", "Europe/Berlin")
    assert [row["occurred"] for row in await fetch_rows(url)] == [line[4] for line in BERLIN]
    tables = await fold_log(url, (CALL_RECORDS,))
    result = sorted(tables["call_records"], key=lambda r: r["position"])
    assert [r["end_time"].timestamp() for r in result] == [line[4] for line in BERLIN]
    assert [r["start_time"].timestamp() for r in result] == [line[4] - 30 for line in BERLIN]
    assert [r["answer_time"].timestamp() for r in result] == [line[4] - 30 for line in BERLIN]
    assert [r["utc_offset"] for r in result] == [7200, 7200, 3600, 3600, 3600, 3600]


async def test_a_zone_that_cannot_be_is_refused(url: str, tmp_path: Path) -> None:
    file = tmp_path / "Master.csv"
    summer = [
        cdr(f"2026-07-01 12:00:{n:02}", f"2026-07-01 12:00:{n + 30:02}", 30, f"{1782900000 + n}.{n}") for n in range(12)
    ]
    file.write_text("".join([cdr(*BERLIN[4][:4]), *summer]))
    for zone, output in (
        ("Asia/Tokyo", "in Asia/Tokyo calls of 2026-07 would start 7:00:00 before"),
        ("+01:00", r"in \+01:00 calls of 2026-07 would start 1:00:00 after"),
        ("UTC", "in UTC calls of 2026-07 would start 2:00:00 after"),
        ("Mars/Olympus", "'Mars/Olympus' is not a time zone"),
        ("../../etc/passwd", "is not a time zone"),
        ("+25:00", "is not a time zone"),
    ):
        with pytest.raises(TimezoneError, match=output):
            await imported(url, file, "cdr_csv", zone)
    with pytest.raises(ImportRefusedError, match="the log has no clock of pbx; pass --timezone"):
        await imported(url, file, "cdr_csv")
    assert await fetch_log(url) == []
    assert (await imported(url, file, "cdr_csv", "Europe/Berlin")).startswith("13 events")


async def test_the_zone_is_that_of_the_log(url: str, tmp_path: Path) -> None:
    posted = {"StartTime": "2026-12-24 12:00:00", "EndTime": "2026-12-24 12:00:30", "Duration": 30, "Channel": "x"}
    await append(url, [event("Cdr", posted | {"UniqueID": "1798110000.1", "Timestamp": "1798110030.5"})])
    await fold_log(url, (CALL_RECORDS,))
    file = tmp_path / "Master.csv"
    file.write_text(cdr(*BERLIN[5][:3]))
    assert await imported(url, file, "cdr_csv") == "1 events of cdr_csv; local times read as +01:00"
    assert (await fetch_rows(url))[-1]["occurred"] == BERLIN[5][4]
    summer = tmp_path / "summer.csv"
    summer.write_text(
        "".join(
            cdr(f"2026-07-01 12:00:{n:02}", f"2026-07-01 12:00:{n + 30:02}", 30, f"{1782900000 + n}.{n}")
            for n in range(12)
        )
    )
    with pytest.raises(TimezoneError, match="pass the --timezone in which the file was written"):
        await imported(url, summer, "cdr_csv")


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
async def test_raw_ami_round_trips_byte_for_byte(url: str, empty_url: str, tmp_path: Path, capture: str) -> None:
    await ingest_wire(url, wire(capture), 65536)
    out, again = io.BytesIO(), io.BytesIO()
    await export_ami(url, "pbx", out)
    file = tmp_path / "berlin.ami"
    file.write_bytes(out.getvalue())
    count = len(await fetch_rows(url))
    assert await imported(empty_url, file, "ami") == f"{count} events of ami"
    assert await imported(empty_url, file, "ami") == NOTHING
    await export_ami(empty_url, "pbx", again)
    assert again.getvalue() == out.getvalue()
    assert {row["alike"] for row in await fetch_rows(empty_url)} == {True, None}
    models = (CALL_RECORDS, STATISTICS)
    received, brought = await fold_log(url, models), await fold_log(empty_url, models)
    for model in models:
        assert Counter(without(row, {"position"}) for row in brought[model.name]) == Counter(
            without(row, {"position"}) for row in received[model.name]
        )
    assert (await walk_chain(empty_url)).events == count + 1


async def test_secrets_in_raw_ami_are_masked(url: str, tmp_path: Path) -> None:
    file = tmp_path / "raw.ami"
    file.write_bytes(b"Asterisk Call Manager/11.0.0\r\nEvent: AuthDetail\r\nPassword: hunter2\r\n\r\n")
    await imported(url, file, "ami")
    assert [row["raw"] for row in await fetch_rows(url)] == [b"Event: AuthDetail\r\nPassword: ********\r\n\r\n"]


GOOD = cdr("2026-11-01 10:00:00", "2026-11-01 10:00:30", 30).encode()
DAMAGED: dict[str, tuple[FileKind, bytes, str]] = {
    "ami cut off": ("ami", b"Event: A\r\n\r\nEvent: B\r\n", "10 bytes after 1 events are not an AMI block"),
    "no ami": ("ami", b"Event: A\r\n\r\nhello\r\n\r\n", "9 bytes after 1 events"),
    "csv as ami": ("ami", GOOD * 3, "bytes after 0 events are not"),
    "empty ami": ("ami", b"", "is empty"),
    "empty csv": ("cdr_csv", b"", "is empty"),
    "an empty line": ("cdr_csv", GOOD + b"\n" + GOOD, "line 2 is not of Master.csv: 0 columns"),
    "too few columns": (
        "cdr_csv",
        GOOD + b'"a","b"\n',
        "line 2 is not of Master.csv: 2 columns, where Master.csv has 16 to 21",
    ),
    "a quote left open": ("cdr_csv", GOOD + b'"a\n' + GOOD, "line 2 is not of Master.csv"),
    "no time": ("cdr_csv", GOOD.replace(b"2026-11-01 10:00:30", b"yesterday"), "line 1 is not of Master.csv"),
    "no duration": ("cdr_csv", GOOD.replace(b",30,", b",x,"), "line 1 is not of Master.csv"),
    "cut off": ("cdr_csv", GOOD + GOOD[:50], "line 2 is not of Master.csv"),
    "queue_log as csv": (
        "cdr_csv",
        b"1795308978|NONE|NONE|NONE|QUEUESTART|\n",
        "line 1 is not of Master.csv: 1 columns",
    ),
    "csv as queue_log": ("queue_log", GOOD, "line 1 is not of queue_log"),
    "queue_log without time": ("queue_log", b"x|NONE|NONE|NONE|QUEUESTART|\n", "line 1 is not of queue_log"),
    "queue_log without event": ("queue_log", b"1795308978|NONE|NONE|NONE||\n", "line 1 is not of queue_log"),
    "cel without time": (
        "cel_csv",
        b"CHAN_START\n",
        "line 1 is not of a CEL csv: 1 columns instead of the 16 to 20",
    ),
    "cel before Asterisk": (
        "cel_csv",
        b"CHAN_START,0001-01-01 00:00:00" + b"," * 18 + b"\n",
        "line 1 is not of a CEL csv: '0001-01-01 00:00:00' is not a time",
    ),
    "queue_log with an odd time": ("queue_log", b"1_0|NONE|q|NONE|X|\n", "'1_0' is not a time"),
    "cel with an odd time": ("cel_csv", b"CHAN_START,01/02/03" + b"," * 18 + b"\n", "line 1 is not of a CEL csv"),
}
OPTIONS: dict[FileKind, str] = {
    "ami": "--ami",
    "cdr_csv": "--master-csv",
    "cel_csv": "--cel-csv",
    "queue_log": "--queue-log",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_whole(tmp_path: Path, case: str) -> None:
    kind, data, output = DAMAGED[case]
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(AsteriskFileError) as result:
        read_contents([file], kind)
    assert output in str(result.value)
    assert str(result.value).startswith(str(file))
    assert "\n" not in str(result.value)


async def test_bad_arguments_are_one_line_and_change_nothing(url: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_bytes(GOOD)
    bad.write_bytes(GOOD + b"x\n")
    for arguments, output in (
        ((str(good), "--master-csv"), "--pbx NAME belongs to"),
        ((str(good), "--pbx", "a"), "--pbx NAME belongs to"),
        ((str(good), "--pbx", "a", "--ami", "--cel-csv"), "one of --ami, --master-csv"),
        ((str(good), "--timezone", "UTC"), "--timezone belongs to"),
        ((str(good), "--ami", "--pbx", "a", "--timezone", "UTC"), "--timezone belongs to"),
        ((str(good), "--master-csv", "--pbx", "a"), "the log has no clock of a; pass --timezone"),
        ((str(good), "--master-csv", "--pbx", "a", "--timezone", "X"), "'X' is not a time zone"),
        (
            (str(good), str(bad), "--master-csv", "--pbx", "a", "--timezone", "UTC"),
            "bad.csv: line 2 is not of Master.csv",
        ),
        ((str(tmp_path / "nosuch"), "--ami", "--pbx", "a"), "nosuch: No such file or directory"),
        ((str(tmp_path), "--ami", "--pbx", "a"), "Is a directory"),
    ):
        code, out, err = await run_import(url, *arguments)
        assert (code, out) == (2, ""), arguments
        assert output in err
        assert err.startswith("ringledger: ")
        assert err.count("\n") == 1
    assert await fetch_log(url) == []
    code, out, err = await run_import(url, str(good), "--master-csv", "--pbx", "a", "--timezone", "UTC")
    assert (code, out, err) == (0, f"{good}: 1 events of cdr_csv; local times read as UTC\n", "")


@pytest.mark.parametrize("kind", ["ami", "cdr_csv"])
async def test_killed_in_the_middle_and_run_again(url: str, empty_url: str, tmp_path: Path, kind: FileKind) -> None:
    file = tmp_path / "file"
    if kind == "ami":
        file.write_bytes(wire("rich22").partition(b"\r\n")[2].rpartition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    else:
        file.write_bytes(truth("rich22", "Master.csv").encode() * 40)
    zone = () if kind == "ami" else ("--timezone", "UTC")
    other = await connect(empty_url)
    await migrate(other)
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "import", file, OPTIONS[kind], "--pbx", "pbx", *zone),
        env=environment(empty_url),
    )
    while not (at := await head_position(other)):
        assert process.returncode is None
    process.kill()
    await process.wait()
    # Meanwhile somebody began to listen: what was decided stays decided.
    await append_events(
        other, "pbx", 7, 1, [NewEvent("ringledger", "Connected", 1.0, 1.0, b'{"type":"Connected","address":"x"}')]
    )
    output = await imported(empty_url, file, kind)
    assert "of them were appended by an interrupted import" in output
    await imported(url, file, kind, *zone[1:])
    assert at < len(await fetch_rows(url))
    names = ("source", "name", "raw")
    assert [[row[n] for n in names] for row in await fetch_rows(empty_url)] == [
        [row[n] for n in names] for row in await fetch_rows(url)
    ]
    assert [(o.events, o.heard, o.there) for o in await fetch_openings(empty_url)] == [
        (o.events, o.heard, o.there) for o in await fetch_openings(url)
    ]
    assert await imported(empty_url, file, kind) == NOTHING
    await other.close()
    assert (await walk_chain(empty_url)).events == len(await fetch_rows(url)) + 2
