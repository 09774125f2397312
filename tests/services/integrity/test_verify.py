"""``ringledger verify`` names what was done to the log: which event first, and how."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from schemas.log import NewEvent
from services.database.errors import NoLedgerError
from services.integrity import compare
from services.integrity.chain_walk import walk_chain
from services.integrity.damage import BatchBoundary, DamageError
from services.log import batches
from services.log.append import append_events
from services.log.chain import LEAF_BYTES, ZERO_LINK
from tests.support.log_clock import set_clock
from tests.support.polling import eventually
from tests.support.program import Run, environment, run_program

MOVE = """
UPDATE ledger.event SET position = position + 1000 WHERE position >= {0};
UPDATE ledger.event SET position = position - 1000 + {1} WHERE position >= 1000
"""
SWAP = """
UPDATE ledger.event SET position = 900 WHERE position = {0};
UPDATE ledger.event SET position = {0} WHERE position = {1};
UPDATE ledger.event SET position = {1} WHERE position = 900
"""
EXCHANGE = """
UPDATE ledger.event e SET {columns} FROM ledger.event o
WHERE (e.position = {0} AND o.position = {1}) OR (e.position = {1} AND o.position = {0})
"""
COPY = """
INSERT INTO ledger.event (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw)
SELECT {position}, connection, ordinal, occurred, recorded, {month}, pbx, source, name, raw
FROM ledger.event WHERE position = 10
"""
COPY_BATCH = """
INSERT INTO ledger.batch (first, last, connection, ordinal, appended, earliest, month, pbx, hash, leaves, salts)
SELECT {first}, last, connection, ordinal, appended, earliest, {month}, pbx, hash, leaves, salts
FROM ledger.batch WHERE first = 8
"""
SALTS = "UPDATE ledger.batch SET salts = {} WHERE first = 8"

# Positions 1-4 (a/1) and 5-7 (b/9) in January; 8-11 (a/1), 12-14 (b/9) and 15-16 (a/2) in February.
ALTERED = {
    "event.position": "position = 900",
    "event.connection": "connection = 2",
    "event.ordinal": "ordinal = 7",
    "event.occurred": "occurred = occurred + interval '1 microsecond'",
    "event.recorded": "recorded = recorded - interval '1 microsecond'",
    "event.month": "month = '2031-01-01'",
    "event.pbx": "pbx = 'b'",
    "event.source": "source = 'ari'",
    "event.name": "name = 'Hangup'",
    "event.raw": "raw = set_byte(raw, 0, 0)",
    "batch.first": "first = 9",
    "batch.last": "last = 10",
    "batch.connection": "connection = 2",
    "batch.ordinal": "ordinal = 1",
    "batch.appended": "appended = appended + interval '1 microsecond'",
    "batch.earliest": "earliest = earliest + interval '1 microsecond'",
    "batch.month": "month = '2031-01-01'",
    "batch.pbx": "pbx = 'b'",
    "batch.hash": "hash = set_byte(hash, 31, 255 - get_byte(hash, 31))",
    "batch.leaves": "leaves = set_byte(leaves, 40, 255 - get_byte(leaves, 40))",
    "batch.salts": "salts = set_byte(salts, 15, 255 - get_byte(salts, 15))",
}
CASES = {
    **{
        name: (
            f"UPDATE ledger.{name.split('.')[0]} SET {change} WHERE "
            + ("position = 9" if "event" in name else "first = 8"),
            "altered",
            9 if "event" in name else 8,
        )
        for name, change in ALTERED.items()
    },
    "time forgotten": ("UPDATE ledger.event SET occurred = NULL WHERE position = 9", "altered", 9),
    "time infinite": ("UPDATE ledger.event SET recorded = 'infinity' WHERE position = 9", "altered", 9),
    "batch longer": ("UPDATE ledger.batch SET last = 12 WHERE first = 8", "altered", 8),
    "batch begins before": ("UPDATE ledger.batch SET first = 7 WHERE first = 8", "altered", 8),
    "batch's leaves cut": ("UPDATE ledger.batch SET leaves = substr(leaves, 1, 96) WHERE first = 8", "altered", 8),
    "batch's salts cut": (SALTS.format("substr(salts, 1, 48)"), "altered", 8),
    "batch's salts longer": (SALTS.format("salts || 'x'"), "altered", 8),
    "salts forgotten": ("UPDATE ledger.batch SET salts = '' WHERE first = 1", "altered", 1),
    "one salt zeros": (
        SALTS.format("overlay(salts PLACING decode(repeat('00', 16), 'hex') FROM 17)"),
        "altered",
        9,
    ),
    "salts exchanged": (
        SALTS.format("substr(salts, 17, 16) || substr(salts, 1, 16) || substr(salts, 33)"),
        "altered",
        8,
    ),
    "last batch's hash": ("UPDATE ledger.batch SET hash = sha256('') WHERE first = 15", "altered", 15),
    "event replaced by a copy": (
        "DELETE FROM ledger.event WHERE position = 12;" + COPY.format(position=12, month="month"),
        "altered",
        12,
    ),
    "first deleted": ("DELETE FROM ledger.event WHERE position = 1", "missing", 1),
    "one deleted": ("DELETE FROM ledger.event WHERE position = 9", "missing", 9),
    "last deleted": ("DELETE FROM ledger.event WHERE position = 16", "missing", 16),
    "all of a batch deleted": ("DELETE FROM ledger.event WHERE position BETWEEN 8 AND 11", "missing", 8),
    "deleted, the others moved up": (
        f"DELETE FROM ledger.event WHERE position = 9; {MOVE.format(10, -1)}",
        "missing",
        9,
    ),
    "batch deleted": ("DELETE FROM ledger.batch WHERE first = 8", "missing", 8),
    "first batch deleted": ("DELETE FROM ledger.batch WHERE first = 1", "missing", 1),
    "last batch deleted": ("DELETE FROM ledger.batch WHERE first = 15", "missing", 15),
    "batch and events deleted": (
        "DELETE FROM ledger.batch WHERE first = 8; DELETE FROM ledger.event WHERE position BETWEEN 8 AND 11",
        "missing",
        8,
    ),
    "tail cut off": (
        "DELETE FROM ledger.batch WHERE first >= 12; DELETE FROM ledger.event WHERE position >= 12",
        "missing",
        12,
    ),
    "everything deleted": ("TRUNCATE ledger.event, ledger.batch", "missing", 1),
    "inserted beyond the head": (COPY.format(position=17, month="month"), "inserted", 17),
    "inserted far beyond the head": (COPY.format(position=1_000_000, month="month"), "inserted", 1_000_000),
    "inserted before the first": (COPY.format(position=0, month="month"), "inserted", 0),
    "inserted at a position that is taken": (COPY.format(position=9, month="date '2031-01-01'"), "inserted", 9),
    "inserted, the others moved down": (
        MOVE.format(9, 1) + ";" + COPY.format(position=9, month="month").replace("= 10", "= 11"),
        "inserted",
        9,
    ),
    "batch inserted beyond the head": (COPY_BATCH.format(first=17, month="month"), "inserted", 17),
    "batch inserted twice": (COPY_BATCH.format(first=8, month="date '2031-01-01'"), "inserted", 8),
    "batch inserted over others": (COPY_BATCH.format(first=10, month="month"), "inserted", 10),
    "neighbours swapped": (SWAP.format(9, 10), "reordered", 9),
    "two of a batch swapped": (SWAP.format(8, 11), "reordered", 8),
    "two of different batches swapped": (SWAP.format(9, 13), "reordered", 9),
    "two of different months swapped": (SWAP.format(2, 13), "reordered", 2),
    "contents exchanged": (
        EXCHANGE.format(9, 11, columns="occurred = o.occurred, recorded = o.recorded, name = o.name, raw = o.raw"),
        "reordered",
        9,
    ),
    "bytes exchanged": (EXCHANGE.format(9, 11, columns="raw = o.raw"), "altered", 9),
    "head back": ("UPDATE ledger.head SET position = 14", "altered", 14),
    "head in the middle of a batch": ("UPDATE ledger.head SET position = 13", "altered", 14),
    "head ahead": ("UPDATE ledger.head SET position = 17", "altered", 16),
    "head's hash": ("UPDATE ledger.head SET hash = sha256('')", "altered", 16),
    "head's time": ("UPDATE ledger.head SET appended = appended + interval '1 day'", "altered", 16),
    "head's month": ("UPDATE ledger.head SET month = '2031-03-01'", "altered", 16),
    "head gone": ("DELETE FROM ledger.head", "altered", 0),
    "two heads": ("INSERT INTO ledger.head SELECT * FROM ledger.head", "altered", 0),
    "miscounted": ("UPDATE ledger.name SET count = count + 1 WHERE pbx = 'b'", "miscounted", 14),
    "wrong last": ("UPDATE ledger.name SET last = 5 WHERE pbx = 'b'", "miscounted", 14),
    "name not counted": ("DELETE FROM ledger.name WHERE pbx = 'b'", "miscounted", 14),
    "name that never was": ("INSERT INTO ledger.name VALUES ('a', 'ami', 'Newchannel', 1, 3)", "miscounted", 3),
    "wrong ordinal": ("UPDATE ledger.connection SET last_ordinal = 7 WHERE connection = 1", "miscounted", 8),
    "connection forgotten": ("DELETE FROM ledger.connection WHERE connection = 1", "miscounted", 8),
    "connection that never was": ("INSERT INTO ledger.connection VALUES ('c', 3, 5, now())", "miscounted", 5),
}


def events(size: int, number: int) -> list[NewEvent]:
    return [
        NewEvent("ami", "VarSet", 1_795_000_000.5 + number + i, 1_795_000_001.25 + number + i, b"%d" % (number + i))
        for i in range(size)
    ]


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    await set_clock(opened, "2031-01-31 23:59:59+00")
    await append_events(opened, "a", 1, 1, events(4, 10))
    await append_events(opened, "b", 9, 1, events(3, 20))
    await set_clock(opened, "2031-02-01+00")
    await append_events(opened, "a", 1, 5, events(4, 30))
    await append_events(opened, "b", 9, 4, events(3, 40))
    await append_events(opened, "a", 2, 1, events(2, 50))
    yield opened
    await opened.close()


@pytest.mark.parametrize("table", ["event", "batch"])
async def test_every_column_has_its_case(connection: asyncpg.Connection, table: str) -> None:
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"
    result = {f"{table}.{row[0]}" for row in await connection.fetch(columns, f"ledger.{table}")}
    assert result == {name for name in ALTERED if name.startswith(f"{table}.")}


@pytest.mark.parametrize("case", CASES)
async def test_each_damage_is_named(
    url: str, connection: asyncpg.Connection, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, kind, position = CASES[case]
    good = await walk_chain(url)
    assert (good.events, good.batches, good.end.position) == (16, 5, 16)
    await connection.execute(change)
    for window in (1, 3, batches.WINDOW_POSITIONS):  # what is read together must not matter
        monkeypatch.setattr(batches, "WINDOW_POSITIONS", window)
        with pytest.raises(DamageError) as result:
            await walk_chain(url)
        assert (result.value.kind, result.value.position) == (kind, position), str(result.value)
        assert f" {kind}: " in str(result.value)
        assert "\n" not in str(result.value)


@pytest.mark.parametrize("column", sorted(name for name in ALTERED if name not in {"batch.appended", "batch.month"}))
async def test_a_changed_column_is_named(url: str, connection: asyncpg.Connection, column: str) -> None:
    await connection.execute(CASES[column][0])
    with pytest.raises(DamageError) as result:
        await walk_chain(url)
    name = column.partition(".")[2]
    hashed = name in {"occurred", "recorded", "source", "name", "raw", "salts"}
    assert ("its salt, times, source, name or bytes" if hashed else f"its {name} ") in str(result.value)


async def test_an_empty_log_is_honest(url: str, empty_url: str) -> None:
    assert (await walk_chain(url)).end == BatchBoundary(0, ZERO_LINK)
    with pytest.raises(NoLedgerError, match="holds no ledger of this version"):
        await walk_chain(empty_url)


async def test_a_listener_may_go_on(url: str, connection: asyncpg.Connection) -> None:
    done = asyncio.Event()

    async def append() -> int:
        writer = await asyncpg.connect(url)
        first = 3
        while not done.is_set():
            await append_events(writer, "a", 2, first, events(7, first))
            first += 7
        await writer.close()
        return first

    appending = asyncio.create_task(append())
    result = [await walk_chain(url) for _ in range(20)]
    done.set()
    appended = await appending
    assert [v.end.position for v in result] == sorted(v.end.position for v in result)
    assert result[-1].end.position > result[0].end.position >= 16
    assert (await walk_chain(url)).events == 16 + appended - 3
    assert await connection.fetchval("SELECT count(*) FROM ledger.event") == 16 + appended - 3


async def test_the_chain_may_begin_at_a_later_batch(url: str, connection: asyncpg.Connection) -> None:
    edge = await connection.fetchval("SELECT hash FROM ledger.batch WHERE last = 7")
    await connection.execute("ALTER TABLE ledger.event DETACH PARTITION ledger.event_2031_01")
    await connection.execute("ALTER TABLE ledger.batch DETACH PARTITION ledger.batch_2031_01")
    good = await walk_chain(url, start=BatchBoundary(7, edge))
    assert (good.events, good.batches) == (9, 3)
    with pytest.raises(DamageError, match="events 1 to 7 missing"):
        await walk_chain(url)
    with pytest.raises(DamageError, match="batch 8 to 11 altered"):
        await walk_chain(url, start=BatchBoundary(7, bytes(32)))


async def test_redacted_and_altered_events_are_distinguished(url: str, connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE ledger.event SET raw = 'x' WHERE position IN (9, 13)")
    rows = await connection.fetch("SELECT first, leaves FROM ledger.batch WHERE first IN (8, 12) ORDER BY first")
    was = {9: rows[0][1][LEAF_BYTES : 2 * LEAF_BYTES], 13: rows[1][1][LEAF_BYTES : 2 * LEAF_BYTES]}
    reading = await batches.connect_microseconds(url, "test")
    async for stretch in batches.read_slices(reading, 0, 16):
        salts = b"".join([b.salts for b in stretch.batches])  # of the first position on
        now = {row[0]: batches.leaf_of(row, salts[row[0] * 16 - 16 : row[0] * 16]) for row in stretch.rows}
    await reading.close()
    redacted = {position: (leaf, now[position]) for position, leaf in was.items()}
    assert (await walk_chain(url, redacted=redacted)).events == 16
    with pytest.raises(DamageError, match="event 13 altered"):
        await walk_chain(url, redacted={9: redacted[9]})
    with pytest.raises(DamageError, match="event 9 altered"):
        await walk_chain(url, redacted={9: redacted[13], 13: redacted[13]})
    with pytest.raises(DamageError, match="event 10 altered"):  # recorded as redacted, but unchanged
        await walk_chain(url, redacted=redacted | {10: (now[10], bytes(LEAF_BYTES))})


async def test_the_command_needs_the_database_alone(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    async def verify() -> Run:
        assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
        return await run_program("verify", folder=tmp_path, environ=environment(url))

    code, out, err = await verify()
    assert (code, err) == (0, "")
    assert out.startswith("honest: 16 events in 5 batches up to position 16, hash ")
    await connection.execute("DELETE FROM ledger.event WHERE position = 9")
    assert await verify() == (1, "event 9 missing: there is no row\n", "")


@pytest.mark.parametrize(("done", "kind"), [(12, "missing"), (2, "reordered")])
async def test_a_hole_in_a_connection_is_named(url: str, connection: asyncpg.Connection, done: int, kind: str) -> None:
    # As if a batch had been removed, and all later ones appended again.
    await connection.execute("UPDATE ledger.connection SET last_ordinal = $1 WHERE connection = 1", done)
    await append_events(connection, "a", 1, done + 1, events(1, 60))
    with pytest.raises(DamageError, match=f"event 17 {kind}: ordinal {done + 1} of a/1 follows 8"):
        await walk_chain(url)


@pytest.mark.parametrize(
    "case", ["event.raw", "one deleted", "tail cut off", "batch.hash", "two of different months swapped"]
)
async def test_several_processes_find_the_same(
    url: str, connection: asyncpg.Connection, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await walk_chain(url, {7, 16})
    monkeypatch.setattr(compare, "PARALLEL_EVENTS", 0)
    monkeypatch.setattr(batches, "WINDOW_POSITIONS", 1)
    assert await walk_chain(url, {7, 16}) == alone
    change, kind, position = CASES[case]
    await connection.execute(change)
    with pytest.raises(DamageError) as result:
        await walk_chain(url)
    assert (result.value.kind, result.value.position) == (kind, position), str(result.value)


FORSAKEN = """
import asyncio, multiprocessing, sys, time
from services.integrity import compare
from services.log import batches

async def main():
    connection = await batches.connect_microseconds(sys.argv[1], "test")
    compare.PARALLEL_EVENTS = 0
    async with compare.open_comparer(sys.argv[1], connection, {}, 16) as (compared, _):
        stretch = await batches.read_batches(connection, 0, 16)
        assert (await compared(stretch.batches, stretch.months)).counts.total() == 16
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        time.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_killed_verify_leaves_no_process_behind(
    url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    assert connection
    script = tmp_path / "forsaken.py"
    script.write_text(FORSAKEN)
    process = await asyncio.create_subprocess_exec(sys.executable, script, url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    children = [int(pid) for pid in (await process.stdout.readline()).split()]
    assert children
    process.kill()
    await process.wait()
    await eventually(lambda: not any(map(lives, children)))


def lives(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # one that has ended and was not waited for has none
    except (FileNotFoundError, ProcessLookupError):
        return False
