"""The chain over the log: every append is sealed, whoever computes it, and months turn by themselves."""

from collections.abc import AsyncIterator
from importlib.resources import files

import asyncpg
import pytest

from schemas.log import NewEvent
from services.database import connection as database
from services.log import append as log
from services.log.chain import BEGINNING, LEAF, SALT, Batch, cut, leaf

BATCHES = """
SELECT first, last, connection, ordinal, ledger.microseconds(appended) AS appended,
       ledger.microseconds(earliest) AS earliest, pbx, hash, leaves, salts
FROM ledger.batch ORDER BY first
"""
EVENTS = """
SELECT ledger.microseconds(occurred), ledger.microseconds(recorded), source, name, raw
FROM ledger.event WHERE position >= $1 AND position <= $2 ORDER BY position
"""
OLD_APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8)"


def events(*raws: str, at: float = 1_795_000_000.25) -> list[NewEvent]:
    return [NewEvent("ami", "VarSet", at - 0.5, at, raw.encode()) for raw in raws]


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


async def sealed(connection: asyncpg.Connection) -> list[Batch]:
    """Return all batches after computing every leaf and link anew; no salt comes twice."""
    batches = [Batch(*row) for row in await connection.fetch(BATCHES)]
    before, ended = BEGINNING, 0
    for batch in batches:
        rows = await connection.fetch(EVENTS, batch.first, batch.last)
        leaves = b"".join([leaf(salt, *row) for salt, row in zip(cut(batch.salts, SALT), rows, strict=True)])
        assert leaves == batch.leaves
        assert len(leaves) == LEAF * (batch.last - batch.first + 1)
        assert batch.first == ended + 1
        assert batch.hash == batch.link(before)
        before, ended = batch.hash, batch.last
    assert len({salt for batch in batches for salt in cut(batch.salts, SALT)}) == ended
    assert tuple(await connection.fetchrow("SELECT position, hash FROM ledger.head")) == (ended, before)
    assert await connection.fetchval("SELECT coalesce(sum(count), 0) FROM ledger.name") == ended
    return batches


async def test_python_and_sql_seal_alike(connection: asyncpg.Connection) -> None:
    odd = NewEvent("ringledger", "Né\n x", None, 0.000_001, b"\0\xff")
    assert await sealed(connection) == []
    await log.append(connection, "a", 1, 1, events("1", "2", "3"))
    await log.append(connection, "b ü", 9, 1, [odd, *events("", at=8_999_999_999.999_999)])
    await log.append(connection, "a", 1, 2, events("2", "3", "4", "5"))  # two of them are there
    first, second, third = await sealed(connection)
    assert (second.pbx, second.earliest) == ("b ü", 1)
    assert (third.first, third.last, third.ordinal) == (6, 7, 4)
    assert first.appended <= second.appended <= third.appended
    counted = await connection.fetch("SELECT pbx, source, name, count, last FROM ledger.name ORDER BY last")
    assert [tuple(row) for row in counted] == [
        ("b ü", "ringledger", "Né\n x", 1, 4),
        ("b ü", "ami", "VarSet", 1, 5),
        ("a", "ami", "VarSet", 5, 7),
    ]


@pytest.mark.parametrize(("leaves", "salts"), [(2 * LEAF, SALT), (LEAF, 2 * SALT), (LEAF, SALT - 1), (LEAF, 0)])
async def test_leaves_and_salts_that_do_not_fit_are_refused(
    connection: asyncpg.Connection, leaves: int, salts: int
) -> None:
    why = f"{leaves} bytes of leaves and {salts} of salts for 1 events"
    with pytest.raises(asyncpg.InvalidParameterValueError, match=why):
        await connection.execute(
            log.APPEND, "a", 1, 1, ["ami"], ["VarSet"], [1], [None], [1], [1], b"x", bytes(leaves), bytes(salts)
        )
    assert await sealed(connection) == []


async def test_a_fenced_writer_may_bring_what_it_heard_before_and_nothing_else(connection: asyncpg.Connection) -> None:
    await log.append(connection, "a", 1, 1, events("1", at=100.0))
    await connection.execute("UPDATE ledger.connection SET fenced = to_timestamp(200)")
    with pytest.raises(asyncpg.LockNotAvailableError, match="another listener took over"):
        await log.append(connection, "a", 1, 2, [*events("2", at=200.0), *events("3", at=200.1)])
    assert await log.append(connection, "a", 1, 2, events("2", at=200.0)) == 2
    assert await log.append(connection, "a", 2, 1, events("3", at=200.1)) == 3
    await sealed(connection)


async def test_months_turn_by_themselves(connection: asyncpg.Connection) -> None:
    parts = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1"
    for number, day in enumerate(("2031-01-31 23:59:59", "2031-02-01", "2031-01-15", "2031-04-30"), 1):
        await connection.execute(
            f"CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN timestamptz '{day}+00'"
        )
        await log.append(connection, "a", 1, number, events(str(number)))
    found = await connection.fetch(
        "SELECT position, month::text, tableoid::regclass::text FROM ledger.event ORDER BY 1"
    )
    assert [tuple(row) for row in found] == [
        (1, "2031-01-01", "ledger.event_2031_01"),
        (2, "2031-02-01", "ledger.event_2031_02"),
        (3, "2031-02-01", "ledger.event_2031_02"),  # a clock that steps back takes no month back
        (4, "2031-04-01", "ledger.event_2031_04"),
    ]
    for table in ("event", "batch"):
        names = [row[0] for row in await connection.fetch(parts, f"ledger.{table}")]
        assert names[-3:] == [f"ledger.{table}_2031_{month}" for month in ("01", "02", "04")]
    await sealed(connection)


async def test_a_ledger_from_before_the_chain_is_sealed_whole(empty_url: str) -> None:
    connection = await database.connect(empty_url)
    older = sorted(p.name for p in files("services.database").joinpath("migrations").iterdir())[:3]
    assert older[-1] == "0003_ours.sql"
    await connection.execute(
        "CREATE TABLE ringledger_migration"
        " (name text PRIMARY KEY, text text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"
    )
    for name in older:
        text = files("services.database").joinpath("migrations", name).read_text(encoding="utf-8")
        await connection.execute(text)
        await connection.execute("INSERT INTO ringledger_migration (name, text) VALUES ($1, $2)", name, text)
    raws = [b"%d" % i for i in range(10_000)]
    size = len(raws)
    arguments = (["ami"] * size, ["Ä"] * size, [None] * size, [1.5 + i for i in range(size)], raws)
    await connection.execute(OLD_APPEND, "a", 1, 1, *arguments)
    await connection.execute(OLD_APPEND, "b", 1, 1, ["ari"], ["B"], [1795308983.349], [1.5], [b"{}"])
    await connection.execute(OLD_APPEND, "a", 1, size + 1, ["ami"], ["Ä"], [None], [9.0], [b"last"])

    assert "0004_chain.sql" in await database.migrate(connection)
    await log.append(connection, "b", 1, 2, events("new"))
    batches = await sealed(connection)
    assert [(b.pbx, b.last - b.first + 1) for b in batches] == [
        ("a", 4095),
        ("a", 4096),
        ("a", 1809),
        ("b", 1),
        ("a", 1),
        ("b", 1),
    ]
    kept = await connection.fetch("SELECT raw FROM ledger.event WHERE pbx = 'a' ORDER BY position")
    assert [row[0] for row in kept] == [*raws, b"last"]
    await connection.close()
