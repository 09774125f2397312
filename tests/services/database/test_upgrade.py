"""A database of an earlier version upgrades in place: the same schema as a new one, the same log, proof and rows.

tests/api/http/test_upgraded.py compares the answers.
"""

import asyncpg
import pytest

from projections import ALL
from services.database.compatible import OLDEST, SCHEMA, IncompatibleError
from services.database.connection import connect
from services.database.migrate import migrate
from services.integrity.verify import verify_log
from services.projector.rebuild.diff import differences
from tests.support.dump import CAPTURES, load_dump
from tests.support.ledger import open_ledger

LATER = CAPTURES / "migrations-0014-to-0019.sql"
"""The migrations between that commit and `SCHEMA`."""
HASH = "a91b2b3c8c840c875f3222b7f237d1f1a74500757a5f7f3c005e915e29d17250"
POSITION = 8902
UNCHANGED = ("buddies", "chats", "contacts", "messages", "rooms", "tokens", "users")
"""Models of own events, whose rows no later version may change."""
CATALOG = """
WITH relation AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relpersistence, c.reloptions
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('ledger', 'archived', 'public') AND NOT c.relispartition
)
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL
SELECT concat_ws(' ', relkind, relpersistence, name, reloptions) FROM relation
UNION ALL
SELECT concat_ws(' ', 'column', name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 a.attidentity, a.attstorage, pg_get_expr(d.adbin, d.adrelid))
FROM relation JOIN pg_attribute a ON a.attrelid = oid AND a.attnum > 0
LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
UNION ALL
SELECT concat_ws(' ', 'constraint', name, conname, pg_get_constraintdef(c.oid))
FROM relation JOIN pg_constraint c ON conrelid = relation.oid WHERE contype <> 'n'
UNION ALL
SELECT pg_get_indexdef(indexrelid) FROM relation JOIN pg_index ON indrelid = oid
UNION ALL
SELECT pg_get_viewdef(oid) FROM relation WHERE relkind = 'v'
UNION ALL
SELECT pg_get_triggerdef(t.oid) FROM relation JOIN pg_trigger t ON tgrelid = relation.oid
UNION ALL
SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE pronamespace = 'ledger'::regnamespace
ORDER BY 1
"""
"""All but partitions, which depend on the month, and the names of NOT NULL constraints."""


@pytest.fixture
async def old(empty_url: str) -> str:
    """The URL of a database that holds the dump."""
    await load_dump(empty_url)
    return empty_url


async def rows(connection: asyncpg.Connection, model: str) -> list[str]:
    records = await connection.fetch(f"SELECT to_jsonb(t)::text FROM model.{model} t ORDER BY 1")
    return [row[0] for row in records]


async def catalog(connection: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(CATALOG)]


async def test_an_earlier_database_upgrades_in_place(old: str) -> None:
    connection = await connect(old)
    before = {model: await rows(connection, model) for model in UNCHANGED}
    assert len(before["users"]) == 3
    assert all(before[model] for model in UNCHANGED)
    await migrate(connection)

    ledger = await open_ledger(old)
    await ledger.fold()
    assert {model: await rows(connection, model) for model in UNCHANGED} == before
    compared = await differences(old, ALL)
    assert [c.model.name for c in compared if c.differs] == []
    assert {c.position for c in compared} == {POSITION}

    verified = await verify_log(old)
    assert verified.end.hash.hex() == HASH
    assert len(verified.redactions) == 1
    await ledger.close()
    await connection.close()


@pytest.mark.parametrize("later", [False, True])
async def test_an_upgraded_database_has_the_new_schema(old: str, url: str, *, later: bool) -> None:
    upgraded, new = await connect(old), await connect(url)
    if later:
        await upgraded.execute(LATER.read_text(encoding="utf-8"))
    assert (await migrate(upgraded))[0] == SCHEMA
    assert await migrate(upgraded) == []
    assert await catalog(upgraded) == await catalog(new)
    await upgraded.close()
    await new.close()


async def test_a_database_older_than_the_upgrade_is_refused(url: str) -> None:
    connection = await connect(url)
    await connection.execute("UPDATE ringledger_migration SET name = '0011_archive.sql'")
    with pytest.raises(IncompatibleError, match=OLDEST):
        await migrate(connection)
    await connection.close()


async def test_an_applied_file_that_changed_is_refused(url: str) -> None:
    connection = await connect(url)
    await connection.execute("UPDATE ringledger_migration SET text = text || ' '")
    with pytest.raises(RuntimeError, match=f"{SCHEMA} was applied to this database with another text"):
        await migrate(connection)
    await connection.close()
