"""A database of an earlier version upgrades in place: the same log, the same proof, read models that all fold.

The dump is of commit 9b8a372: a played recording, users, a contact, a chat, refused acts, imported lines of
Master.csv and queue_log, two rebuilt models, one redaction.
"""

import asyncio
import lzma
import subprocess
from pathlib import Path

import asyncpg
import pytest

from projections import ALL
from services.database import connection as database
from services.database.embedded import BIN
from services.integrity.verify import audit
from services.projector.rebuild_diff import differences
from tests.support.ledger import open_ledger

DUMP = Path(__file__).parents[2] / "captures" / "database-9b8a372.sql.xz"
HASH = "a91b2b3c8c840c875f3222b7f237d1f1a74500757a5f7f3c005e915e29d17250"
POSITION = 8902
UNCHANGED = ("buddies", "chats", "contacts", "messages", "rooms", "tokens", "users")
"""Models of our own events, whose rows no later version may change."""


@pytest.fixture
async def old(empty_url: str) -> str:
    """The URL of a database that holds the dump."""
    options = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
    psql = await asyncio.create_subprocess_exec(BIN / "psql", *options, empty_url, stdin=subprocess.PIPE)
    await psql.communicate(lzma.decompress(DUMP.read_bytes()))
    assert psql.returncode == 0
    return empty_url


async def rows(connection: asyncpg.Connection, model: str) -> list[str]:
    found = await connection.fetch(f"SELECT to_jsonb(t)::text FROM model.{model} t ORDER BY 1")
    return [row[0] for row in found]


async def test_an_earlier_database_upgrades_in_place(old: str) -> None:
    connection = await database.connect(old)
    before = {model: await rows(connection, model) for model in UNCHANGED}
    assert len(before["users"]) == 3
    assert all(before[model] for model in UNCHANGED)
    await database.migrate(connection)

    ledger = await open_ledger(old)
    await ledger.fold()
    assert {model: await rows(connection, model) for model in UNCHANGED} == before
    compared = await differences(old, ALL)
    assert [c.model.name for c in compared if c.differs] == []
    assert {c.position for c in compared} == {POSITION}

    verified = await audit(old)
    assert verified.end.hash.hex() == HASH
    assert len(verified.redactions) == 1
    await ledger.close()
    await connection.close()
