"""Lines of CEL and queue_log come in as they are, once, in the order of time, and with their columns."""

import asyncio
import csv
import random
from collections import Counter
from pathlib import Path

import asyncpg
import msgspec
import pytest

from projections.calls.calls import CALLS
from projections.calls.story.items import PERSON, kind_of
from projections.engine.decoding import DecodedEvent
from schemas.ami.cel import CelEvent
from schemas.cel_columns import BRIEF, DEFAULT, CelColumns, parse_columns
from schemas.log import Connected, NewEvent, RecordedEvent
from services.database.connection import connect
from services.database.locks import Lock, try_lock
from services.integrity.chain_walk import walk_chain
from services.log.append import append_events
from services.log.read import read_events, recorded_event
from services.transfer.asterisk_files import AsteriskFileError
from services.transfer.import_asterisk import import_asterisk
from services.transfer.import_content import read_contents
from services.transfer.import_ledger import NOTHING, ImportRefusedError
from services.transfer.timezones import TimezoneError
from tests.captures import truth
from tests.support.asterisk_files import fetch_log, fetch_openings, fetch_rows, run_import
from tests.support.folding import own
from tests.support.recorded_link import part_of
from tests.support.story import append, fold_log

OWN = ("eventtime", "eventtype", "linkedid", "uniqueid")
COLUMNS = "SELECT raw FROM ledger.event WHERE name = 'CelColumns' AND source = 'ringledger' ORDER BY position"


def line(event: str, at: str = "1795308983.5", columns: tuple[str, ...] = DEFAULT, **values: str) -> str:
    values = {"uniqueid": "1795308983.1", "linkedid": "1795308983.1"} | values
    values |= {"eventtype": event, "eventtime": at}
    return ",".join('"' + values.get(name, "").replace('"', '""') + '"' for name in columns) + "\n"


async def events_of(url: str) -> list[RecordedEvent]:
    connection = await connect(url)
    result = await read_events(connection, 0, 1 << 40, ["CEL", "CelColumns"])
    await connection.close()
    return [recorded_event(row) for row in result]


def write(file: Path, *lines: str) -> Path:
    file.write_text("".join(lines))
    return file


async def imported(url: str, *files: Path, columns: str = "", timezone: str = "", kind: str = "cel_csv") -> list[str]:
    names = parse_columns(columns) if columns else ()
    contents = read_contents(files, kind, columns=names)  # type: ignore[arg-type]
    return [output async for output in import_asterisk(url, contents, "pbx", timezone)]


@pytest.mark.parametrize("name", ["rich22", "rich16"])
async def test_a_recorded_file_comes_in_whole(url: str, tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "cel.csv", truth(name, "cel.csv"))
    lines = truth(name, "cel.csv").count("\n")
    assert await imported(url, file, timezone="UTC") == [f"{file}: {lines} events of cel_csv; local times read as UTC"]
    result = await fetch_rows(url)
    assert b"".join(row["raw"] for row in result) == file.read_bytes()
    assert {(row["source"], row["name"]) for row in result} == {("cel_csv", "CEL")}
    times = [row["occurred"] for row in result]
    assert times == sorted(times)
    assert await fetch_rows(url, COLUMNS) == []
    assert await imported(url, file) == [f"{file}: {NOTHING}"]
    assert (await walk_chain(url)).events == lines + 1


def linked_calls(name: str) -> set[str]:
    """Return the linked ids of the file that have had a person's channel."""
    rows = csv.reader(truth(name, "cel.csv").splitlines())
    starts = [(row[6], row[10]) for row in rows if row[0] == "CHAN_START"]
    return {linkedid for channel, linkedid in starts if kind_of(channel) == PERSON}


async def calls_of(url: str, seed: int) -> list[asyncpg.Record]:
    """Fold the log in random batches, and return the calls that are served."""
    tables = await fold_log(url, (CALLS,), random.Random(seed))
    return [row for row in tables["calls"] if row["is_told"]]


@pytest.mark.parametrize(("name", "order"), [("rich22", "file, link"), ("rich16", "link, file")])
async def test_calls_beside_a_link_are_told_once(url: str, tmp_path: Path, name: str, order: str) -> None:
    """Lines from before, during and after a link give each call once, whichever of both came first."""
    file = write(tmp_path / "cel.csv", truth(name, "cel.csv"))
    if order == "file, link":
        await imported(url, file, timezone="UTC")
        await append(url, part_of(name))
    else:
        await append(url, part_of(name))
        [output] = await imported(url, file, timezone="UTC")
        assert "skipped" not in output
    assert await imported(url, file) == [f"{file}: {NOTHING}"]
    calls = await calls_of(url, 3)
    ids = [one for row in calls for one in (row["linkedid"], *row["aliases"])]
    assert len(ids) == len(set(ids))
    assert linked_calls(name) <= set(ids)
    sources = Counter(row["sources"][0] for row in calls)
    assert sources["ami"] > 100
    assert sources["cel"] > 100
    grown = write(tmp_path / "grown.csv", truth(name, "cel.csv"), truth(name, "cel.csv").splitlines(keepends=True)[-1])
    assert "1 events of cel_csv" in (await imported(url, grown, timezone="UTC"))[0]
    assert await calls_of(url, 4) == calls


async def test_an_older_import_continues_by_its_rule(url: str, tmp_path: Path) -> None:
    """Ringledger 0.1.0 left out lines of times with a link, so its unfinished import leaves them out too."""
    lines = [line("ANSWER", f"179530898{n}.25") for n in range(6)]
    file = write(tmp_path / "cel.csv", *lines)
    await append(url, [own(Connected("pbx"), 1795308984.0)])
    [content] = read_contents([file], "cel_csv")
    opening = {"type": "Imported", "file": "cel.csv", "sha256": content.sha256, "kind": "cel_csv"}
    first = NewEvent(
        "ringledger", "Imported", 1.0, 1.0, msgspec.json.encode(opening | {"log": 1, "events": 4, "heard": 2})
    )
    done = NewEvent("cel_csv", "CEL", 1795308980.25, 1795308980.25, lines[0].encode())
    await append(url, [first, done], writer=content.connection)
    [output] = await imported(url, file)
    assert output.endswith("2 skipped: the listener was connected at that time")
    assert [row["raw"].decode() for row in await fetch_rows(url)] == lines[:4]


async def test_quotes_breaks_and_fractions_are_kept(url: str, tmp_path: Path) -> None:
    odd = line("CHAN_START", cidname='Ann "A", B\nC', eventextra='{"a":"b"}')
    file = write(
        tmp_path / "cel.csv",
        odd,
        line("Survey", "2026-11-01 11:00:00", uniqueid="1793527200.1"),
        line("X", "2026-11-01T10:00:00Z"),
    )
    await imported(url, file, timezone="+01:00")
    result = await fetch_rows(url)
    assert b"".join(row["raw"] for row in result) == file.read_bytes()
    assert [row["occurred"] for row in result] == [1795308983.5, 1793527200.0, 1793527200.0]
    events = [DecodedEvent(e).convert(CelEvent) for e in await events_of(url)]
    assert [e.event_name for e in events] == ["CHAN_START", "Survey", "X"]
    assert events[0].caller_id_name == 'Ann "A", B\nC'


async def test_a_wrong_zone_is_refused(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "cel.csv", line("ANSWER", "2026-11-01 11:00:00", uniqueid="1793527200.1"))
    with pytest.raises(TimezoneError, match="would start 1:00:00 before their channels"):
        await imported(url, file, timezone="+02:00")
    assert await fetch_log(url) == []


async def test_a_grown_file_adds_its_new_lines(url: str, tmp_path: Path) -> None:
    lines = [line("ANSWER", f"179530898{n}.25") for n in range(6)]
    file, grown = write(tmp_path / "a", *lines[:3], lines[0]), write(tmp_path / "b", *lines[:3], lines[0], *lines[3:])
    await imported(url, file)
    assert (await imported(url, grown))[0].endswith("3 events of cel_csv; 4 skipped: imported before from another file")
    assert Counter(row["raw"].decode() for row in await fetch_rows(url)) == Counter([*lines, lines[0]])


async def test_lines_of_an_older_version_are_recognised(url: str, tmp_path: Path) -> None:
    """Ringledger 0.1.0 named a line by its event type, and any line of queue_log by its event."""
    cel = [line("ANSWER", "1795308980.25"), line("HANGUP", "1795308981.25")]
    queue = [f"179530898{n}|1.1|q|NONE|{word}|\n" for n, word in enumerate(("NIGHT", "CONNECT", "NIGHT"))]
    connection = await connect(url)
    for number, kind, name, raw, at in (
        (1, "cel_csv", "ANSWER", cel[0], 1795308980.25),
        (2, "queue_log", "NIGHT", queue[0], 1795308980.0),
        (3, "queue_log", "CONNECT", queue[1], 1795308981.0),
    ):
        opening = {"type": "Imported", "file": "old", "sha256": "", "kind": kind, "log": 0, "events": 1}
        first = NewEvent("ringledger", "Imported", 1.0, 1.0, msgspec.json.encode(opening))
        old = NewEvent(kind, name, at, at, raw.encode())  # type: ignore[arg-type]
        await append_events(connection, "pbx", number, 1, [first, old])
    await connection.close()
    [output] = await imported(url, write(tmp_path / "cel.csv", *cel))
    assert output.endswith("1 events of cel_csv; 1 skipped: imported before from another file")
    [output] = await imported(url, write(tmp_path / "queue_log", *queue), kind="queue_log")
    assert output.endswith("1 events of queue_log; 2 skipped: imported before from another file")
    assert [row["name"] for row in await fetch_rows(url)] == ["ANSWER", "NIGHT", "CONNECT", "CEL", "QueueLog"]


async def test_columns_are_recorded_before_the_lines(url: str, tmp_path: Path) -> None:
    own, usual = ",".join(OWN), tmp_path / "usual"
    first = write(tmp_path / "first", line("ANSWER", columns=OWN))
    second = write(tmp_path / "second", line("HANGUP", columns=OWN))
    await imported(url, first, columns=own)
    await imported(url, second, columns=own)
    await imported(url, write(usual, line("HANGUP"), line("ANSWER", columns=BRIEF)))
    assert [msgspec.json.decode(row[0], type=CelColumns).columns for row in await fetch_rows(url, COLUMNS)] == [OWN, ()]
    events: list[CelEvent] = []
    columns: tuple[str, ...] = ()
    for event in await events_of(url):
        if event.name == "CelColumns":
            columns = msgspec.json.decode(event.raw, type=CelColumns).columns
        elif event.name == "CEL":
            events.append(DecodedEvent(event).convert(CelEvent).arranged(columns))
    assert [e.event_name for e in events] == ["ANSWER", "HANGUP", "HANGUP", "ANSWER"]
    assert {e.linked_id for e in events} == {"1795308983.1"}
    before = await fetch_log(url)
    assert await imported(url, first, columns=own) == [f"{first}: {NOTHING}"]
    with pytest.raises(ImportRefusedError, match=f"was already imported with --columns {own}"):
        await imported(url, first, columns="eventtime,eventtype,uniqueid,linkedid")
    with pytest.raises(AsteriskFileError, match=r"4 columns instead of the 16 to 20 .*--columns"):
        await imported(url, first)
    with pytest.raises(AsteriskFileError, match="20 columns, and --columns names 4"):
        await imported(url, usual, columns=own)
    assert await fetch_log(url) == before


async def test_parts_come_in_the_order_of_time(url: str, tmp_path: Path) -> None:
    parts = [f"17953089{n}|1.1|q|NONE|ENTERQUEUE||5|1\n17953089{n}.5|1.1|q|NONE|ABANDON|1|1|0\n" for n in (80, 70, 60)]
    files = [write(tmp_path / f"queue_log{end}", part) for end, part in zip(("", ".1", ".2"), parts, strict=True)]
    outputs = await imported(url, *files, kind="queue_log")
    assert [output.partition(":")[0] for output in outputs] == [str(file) for file in reversed(files)]
    assert [row["occurred"] % 100 for row in await fetch_rows(url)] == [60.0, 60.5, 70.0, 70.5, 80.0, 80.5]


async def test_imports_of_one_pbx_wait_for_each_other(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "cel.csv", line("ANSWER"))
    other = await connect(url)
    assert await try_lock(other, Lock.IMPORT, "pbx")
    outputs = import_asterisk(url, read_contents([file], "cel_csv"), "pbx", "")
    assert await anext(outputs) == "waiting for another import of pbx"
    rest = asyncio.ensure_future(anext(outputs))
    await other.close()
    assert await rest == f"{file}: 1 events of cel_csv"
    assert [output async for output in outputs] == []
    assert len(await fetch_openings(url)) == 1


async def test_bad_columns_are_one_line_and_change_nothing(url: str, tmp_path: Path) -> None:
    file = str(write(tmp_path / "cel.csv", line("ANSWER")))
    for arguments, output in (
        ((file, "--queue-log", "--pbx", "a", "--columns", "eventtype"), "--columns belongs to --cel-csv"),
        ((file, "--cel-csv", "--pbx", "a", "--columns", "eventtype,x"), "--columns: 'x' is not a column of CEL"),
        ((file, "--cel-csv", "--pbx", "a", "--columns", "eventtype"), "--columns: eventtime is missing"),
        ((file, "--cel-csv", "--pbx", "a", "--columns", ",".join(OWN)), "20 columns, and --columns names 4"),
    ):
        code, out, err = await run_import(url, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert output in err
    assert await fetch_log(url) == []
