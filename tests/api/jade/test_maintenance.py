"""While months are archived and persons erased, people log in, facts are decided, acts asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from services.database.locks import Lock, locked
from services.retention.redact import redact
from tests.support.api_client import Client, Serve, admin_token
from tests.support.archiving import append_months, run_archive
from tests.support.ledger import Ledger, projector_process
from tests.support.polling import eventually
from tests.support.redacting import PATTERN, TOKEN, VARIETY
from tests.support.users import USERS

# The lock manager's word for a statement of this test's database that waits for another transaction.
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1
"""
RETAINED = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1::bigint::oid
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    async with projector_process(url) as ledger:
        yield ledger


@asynccontextmanager
async def open_transaction(url: str, *statements: str) -> AsyncIterator[None]:
    """Hold what these statements lock until the end of the block."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    for statement in statements:
        await connection.execute(statement)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def waits(ledger: Ledger, statement: str) -> None:
    async def waiting() -> bool:
        return bool(await ledger.connection.fetchval(WAITING, statement))

    await eventually(waiting, f"{statement} waits")
    assert await ledger.connection.fetchval(RETAINED, int(Lock.RETENTION)) == 1


async def decides(client: Client, name: str) -> None:
    """Log in, and make a user under an Idempotency-Key."""
    headers = {"Authorization": f"Bearer {await admin_token(client)}", "Idempotency-Key": name}
    reply = await client.post(USERS, json={"name": name, "password": name, "username": name}, headers=headers)
    assert reply.status == 200, await reply.text()


async def test_logins_and_decisions_go_on_while_redact_runs(serve: Serve, ledger: Ledger) -> None:
    position = await ledger.write(*VARIETY[:3])
    client = await serve()
    async with open_transaction(ledger.url, f"SELECT FROM ledger.event WHERE position = {position} FOR UPDATE"):
        running = asyncio.create_task(redact(ledger.url, PATTERN, TOKEN))
        await waits(ledger, "%ledger.redact(%")
        await decides(client, "bob")
        assert not running.done()
    assert (await running).events.total() == 3


async def test_logins_and_decisions_go_on_while_archive_runs(serve: Serve, ledger: Ledger, tmp_path: Path) -> None:
    ends = await append_months(ledger.url, 400)
    client = await serve()
    async with open_transaction(ledger.url, "LOCK TABLE ledger.saved IN EXCLUSIVE MODE"):
        running = asyncio.create_task(run_archive(ledger.url, tmp_path / "files", "2026-05"))
        await waits(ledger, "DELETE FROM ledger.saved WHERE kept%")
        await decides(client, "bob")
        assert not running.done()
    assert (await running).first_position == ends[1] + 1


async def test_redact_runs_while_a_decision_is_made(ledger: Ledger) -> None:
    await ledger.write(*VARIETY[:3])
    connection = await asyncpg.connect(ledger.url)
    async with locked(connection, Lock.DECISION):
        assert (await redact(ledger.url, PATTERN, TOKEN)).events.total() == 3
    await connection.close()
