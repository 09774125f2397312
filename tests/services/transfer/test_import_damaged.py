"""Damaged files of Asterisk are refused by default, imported without the damage by option, and never duplicated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.log import NewEvent
from services.transfer import import_asterisk as module
from services.transfer.asterisk_files import AsteriskFileError
from services.transfer.import_asterisk import import_asterisk
from services.transfer.import_content import FileKind, read_contents
from services.transfer.import_ledger import NOTHING, ImportRefusedError
from tests.captures import truth, wire
from tests.support.asterisk_files import IMPORTED_EVENTS, cdr, fetch_rows
from tests.support.program import environment, run_program

QUEUE_LOG = [
    b"1795308978|NONE|NONE|NONE|QUEUESTART|\n",
    b"1795308982|NONE|sales|PJSIP/100|RINGINUSE|0\n",
    b"1795308983|MANAGER|support|PJSIP/107|ADDMEMBER|\n",
]
MASTER = [cdr(f"2026-11-0{day} 10:00:00", f"2026-11-0{day} 10:00:30", 30).encode() for day in (1, 2, 3, 4)]
CEL = [
    b'"CHAN_START","1795308983.5","Ann, ""A""","100"' + b',""' * 16 + b"\n",
    b'"HANGUP","1795308984.5","","100"' + b',""' * 16 + b"\n",
]
AMI = [b"Event: A\r\nTimestamp: 1795308983.5\r\nX: 1\r\n\r\n", b"Event: B\r\nX: 2\r\n\r\n", b"Event: B\r\nX: 2\r\n\r\n"]
PRIVILEGED = [b"Event: %c\r\nPrivilege: call,all\r\nTimestamp: 1795308984.5\r\nX: 1\r\n\r\n" % n for n in b"CD"]
NUL = "contains NUL bytes"

# Kind, the whole file, the damaged one, which events that still holds, the lines that are left out and why.
CASES: dict[str, tuple[FileKind, list[bytes], bytes, list[int], list[tuple[int, str]]]] = {
    "NULs before a record": (
        "queue_log",
        QUEUE_LOG,
        QUEUE_LOG[0] + b"\0" * 4096 + QUEUE_LOG[1] + QUEUE_LOG[2],
        [0, 2],
        [(2, "is not a time")],
    ),
    "NULs within a call record": (
        "cdr_csv",
        MASTER,
        MASTER[0] + b"\0" * 512 + MASTER[1] + MASTER[2],
        [0, 2],
        [(2, NUL)],
    ),
    "a record cut within quotes": (
        "cdr_csv",
        MASTER,
        MASTER[0] + MASTER[1][:30] + b"\n" + MASTER[2] + MASTER[3],
        [0, 2, 3],
        [(2, "no CSV")],
    ),
    "a record cut at the end": ("cdr_csv", MASTER, MASTER[0] + MASTER[1] + MASTER[2][:30], [0, 1], [(3, "no CSV")]),
    "a line of something else": (
        "cel_csv",
        CEL,
        CEL[0] + b"segmentation fault\n\n" + CEL[1],
        [0, 1],
        [(2, ""), (3, "")],
    ),
    "NULs in a block": (
        "ami",
        AMI,
        AMI[0] + b"Event: B\r\nX\0\0\0\r\n\r\n" + AMI[2],
        [0, 2],
        [(5, NUL)],
    ),
    "a block that is none": ("ami", AMI, AMI[0] + b"Segfault\r\n\r\n" + AMI[2], [0, 2], [(5, "not an AMI block")]),
    "a block that runs into the next": (
        "ami",
        AMI,
        AMI[0] + b"Event: B\r\nX: \r\n" + AMI[1] + AMI[2],
        [0, 2],
        [(5, "a block was cut")],
    ),
    "an unfinished call record": (
        "cdr_csv",
        MASTER,
        MASTER[0] + MASTER[1] + MASTER[2][:-1],
        [0, 1],
        [(3, "has no end")],
    ),
    "an unfinished line of queue_log": (
        "queue_log",
        QUEUE_LOG,
        QUEUE_LOG[0] + QUEUE_LOG[1] + QUEUE_LOG[2][:-4],
        [0, 1],
        [(3, "has no end")],
    ),
    "a line of queue_log that runs into the next": (
        "queue_log",
        QUEUE_LOG,
        QUEUE_LOG[0] + QUEUE_LOG[1][:30] + QUEUE_LOG[2],
        [0],
        [(2, "runs into the next one")],
    ),
    "a line of CEL that runs into the next": (
        "cel_csv",
        [*CEL, CEL[0]],
        CEL[0][:-1] + CEL[1] + CEL[0],
        [0],
        [(1, "runs into the next one")],
    ),
    "a block cut in a line that runs into the next": (
        "ami",
        [AMI[0], *PRIVILEGED],
        AMI[0] + PRIVILEGED[0][:34] + PRIVILEGED[1],
        [0],
        [(5, "a block was cut")],
    ),
    "a block cut at the end": ("ami", AMI, AMI[0] + AMI[1] + AMI[2][:9], [0, 1], [(8, "the last 9 bytes")]),
}


async def imported(url: str, file: Path, kind: FileKind, *, skip: bool = False) -> str:
    timezone = "UTC" if kind == "cdr_csv" else ""
    files = read_contents([file], kind, skip_damaged=skip)
    [output] = [output async for output in import_asterisk(url, files, "pbx", timezone)]
    return output.removeprefix(f"{file}: ")


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_damage_is_skipped_listed_and_imported_later(
    url: str, tmp_path: Path, case: tuple[FileKind, list[bytes], bytes, list[int], list[tuple[int, str]]]
) -> None:
    kind, whole, data, retained, left_out = case
    file, mended = tmp_path / "damaged", tmp_path / "mended"
    file.write_bytes(data)
    output = await imported(url, file, kind, skip=True)
    assert sorted(row["raw"] for row in await fetch_rows(url)) == sorted(whole[one] for one in retained)
    first, *rest = output.splitlines()
    assert first.endswith(f"{len(left_out)} damaged skipped:")
    assert [line.partition(": ")[0] for line in rest] == [f"  line {number}" for number, _ in left_out]
    assert all(reason in line for line, (_, reason) in zip(rest, left_out, strict=True))
    assert await imported(url, file, kind, skip=True) == NOTHING
    mended.write_bytes(b"".join(whole))
    await imported(url, mended, kind)
    assert sorted(row["raw"] for row in await fetch_rows(url)) == sorted(whole)
    assert await imported(url, mended, kind) == NOTHING


# A name may hold NULs, an editor may leave out the last line's end, and blocks like these could be sent.
READABLE = {"NULs within a call record", "NULs in a block"}
REFUSED = [name for name in CASES if name not in READABLE and "runs" not in name and "unfinished" not in name]


@pytest.mark.parametrize("name", REFUSED)
def test_damage_is_refused_by_default(tmp_path: Path, name: str) -> None:
    kind, _, data, _, _ = CASES[name]
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(AsteriskFileError, match=r"; --skip-damaged imports the rest and lists what it skips$"):
        read_contents([tmp_path / "damaged"], kind)


def test_a_file_without_a_whole_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nothing").write_bytes(b"\0" * 4096)
    with pytest.raises(AsteriskFileError, match=r"contains no intact record$"):
        read_contents([tmp_path / "nothing"], "queue_log", skip_damaged=True)


@pytest.mark.parametrize("kind", ["ami", "cdr_csv", "queue_log"])
def test_a_recording_has_no_damage(tmp_path: Path, kind: FileKind) -> None:
    file = tmp_path / "whole"
    names = {"cdr_csv": "Master.csv", "queue_log": "queue_log"}
    file.write_bytes(wire("rich22") if kind == "ami" else truth("rich22", names[kind]).encode())
    [content] = read_contents([file], kind, skip_damaged=True)
    assert content.damage == []
    assert [content.events] == [one.events for one in read_contents([file], kind)]


async def test_an_import_continues_only_with_its_options(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queue_log"
    file.write_bytes(b"".join(QUEUE_LOG))
    monkeypatch.setattr("services.transfer.import_asterisk.BATCH_LINES", 1)
    batch, count = module._next_batch, 0

    def dying(events: Iterator[NewEvent]) -> list[NewEvent]:
        nonlocal count
        count += 1
        if count > 2:
            raise OSError("killed")
        return batch(events)

    monkeypatch.setattr("services.transfer.import_asterisk._next_batch", dying)
    with pytest.raises(OSError, match="killed"):
        await imported(url, file, "queue_log", skip=True)
    monkeypatch.setattr("services.transfer.import_asterisk._next_batch", batch)
    with pytest.raises(ImportRefusedError, match="was started with --skip-damaged"):
        await imported(url, file, "queue_log")
    await imported(url, file, "queue_log", skip=True)
    assert [row["raw"] for row in await fetch_rows(url, IMPORTED_EVENTS)] == QUEUE_LOG


async def test_a_ledger_file_is_never_taken_in_part(url: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl.zst"
    file.touch()
    done = await run_program("import", "--skip-damaged", file, environ=environment(url))
    assert done.code == 2
    assert "raw AMI and Asterisk's own files; a ledger file is imported whole" in done.err
