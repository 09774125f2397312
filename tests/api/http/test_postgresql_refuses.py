"""PostgreSQL is full, read only, starting or locked: 503 with Retry-After and the reason, and nothing is done."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from api.app_keys import CHECKPOINTS
from projections import ALL
from services.database.locks import Lock, locked
from tests.support.api_client import PASSWORD, Client, Serve, basic, serve_as_admin
from tests.support.ledger import COMMANDER, Ledger
from tests.support.users import USERS

CHANNELS = "/v1/admin/core/channels"
KEY = {"Idempotency-Key": "k1"}
USER = {"name": "bob", "password": "bob", "username": "bob"}
STATES = {
    "25006": "takes no writes",
    "28000": "refuses the login",
    "40001": "",
    "40P01": "",
    "53100": "has no room left on its disk",
    "53200": "has no memory left",
    "53300": "takes no more connections",
    "55P03": "waits for a lock that something else holds",
    "57P03": "is starting or stopping",
    "57014": "does not answer",
    "58030": "refuses",
}
FAIL = """
CREATE OR REPLACE FUNCTION public.fail(state text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'an error of the test' USING ERRCODE = state; END $$
"""
REFUSE_READS = """
ALTER TABLE model.channels RENAME TO channels_;
CREATE VIEW model.channels AS SELECT * FROM model.channels_ WHERE public.fail('{0}')
"""
ALLOW_READS = "DROP VIEW model.channels; ALTER TABLE model.channels_ RENAME TO channels"
REFUSE_WRITES = """
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.fail(''{0}''); END';
CREATE TRIGGER refuse BEFORE INSERT ON ledger.event FOR EACH ROW EXECUTE FUNCTION public.refuse()
"""
ALLOW_WRITES = "DROP TRIGGER refuse ON ledger.event; DROP FUNCTION public.refuse"
NAMES = "SELECT username FROM users ORDER BY username"


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    position = await ledger.write(
        b"Event: Newchannel\r\nChannel: PJSIP/1-1\r\nChannelState: 6\r\nUniqueid: 1.1\r\n\r\n"
    )
    client = await serve_as_admin(serve)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
    await ledger.connection.execute(FAIL)
    return client


async def get_503(client: Client, path: str, method: str = "GET", **options: Any) -> str:
    reply = await client.request(method, path, **options)
    assert reply.status == 503, (path, reply.status, await reply.text())
    assert reply.headers["Retry-After"] == "1"
    return str((await reply.json())["message"])


@pytest.mark.parametrize("state", STATES)
async def test_a_view_refused_by_postgresql_is_503(client: Client, ledger: Ledger, state: str) -> None:
    await ledger.connection.execute(REFUSE_READS.format(state))
    assert STATES[state] in await get_503(client, CHANNELS)
    await ledger.connection.execute(ALLOW_READS)
    assert (await client.get(CHANNELS)).status == 200


@pytest.mark.parametrize("state", STATES)
async def test_a_decision_refused_by_postgresql_is_503(client: Client, ledger: Ledger, state: str) -> None:
    head = await ledger.connection.fetchval("SELECT position FROM head")
    await ledger.connection.execute(REFUSE_WRITES.format(state))
    await get_503(client, USERS, "POST", json=USER, headers=KEY)
    await get_503(client, "/v1/admin/login", "POST", headers=basic("admin", PASSWORD))
    assert await ledger.connection.fetchval("SELECT position FROM head") == head
    await ledger.connection.execute(ALLOW_WRITES)
    assert (await client.post(USERS, json=USER, headers=KEY)).status == 200
    assert [row[0] for row in await ledger.connection.fetch(NAMES)] == ["admin", "bob"]


async def test_another_sql_error_is_500(client: Client, ledger: Ledger) -> None:
    await ledger.connection.execute(REFUSE_READS.format("22012"))
    assert (await client.get(CHANNELS)).status == 500
    await ledger.connection.execute(ALLOW_READS)


@pytest.fixture
async def holder(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """A connection for locks, and an API that waits for a lock for a tenth of a second."""
    monkeypatch.setattr("services.database.pool.LOCK_TIMEOUT", "100ms")
    connection = await asyncpg.connect(ledger.url)
    yield connection
    await connection.close()


async def test_a_view_of_a_locked_table_is_503(holder: asyncpg.Connection, client: Client) -> None:
    async with holder.transaction():
        await holder.execute("LOCK TABLE model.channels IN ACCESS EXCLUSIVE MODE")
        assert "waits for a lock" in await get_503(client, CHANNELS)
    assert (await client.get(CHANNELS)).status == 200


@pytest.mark.parametrize("lock", [Lock.APPEND, Lock.DECISION])
async def test_a_decision_behind_a_lock_is_503(
    holder: asyncpg.Connection, client: Client, ledger: Ledger, lock: Lock
) -> None:
    async with locked(holder, lock):
        assert "waits for a lock" in await get_503(client, USERS, "POST", json=USER, headers=KEY)
        assert "waits for a lock" in await get_503(client, "/v1/admin/login", "POST", headers=basic("admin", PASSWORD))
    assert (await client.post(USERS, json=USER, headers=KEY)).status == 200
    assert [row[0] for row in await ledger.connection.fetch(NAMES)] == ["admin", "bob"]


async def test_a_decision_waits_for_a_limited_time(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.commands.decide.LOCK_SECONDS", 0.1)
    async with locked(ledger.connection, Lock.DECISION):
        assert "earlier decisions" in await get_503(client, USERS, "POST", json=USER, headers=KEY)


async def test_an_act_waits_despite_a_failed_notification(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise asyncpg.TooManyConnectionsError("sorry, too many clients already")

    monkeypatch.setattr("services.commands.act.notify_commander", fail)
    monkeypatch.setattr("services.commands.act.OUTCOME_SECONDS", 0.5)
    await ledger.connection.execute(COMMANDER)
    reply = await client.delete(f"{CHANNELS}/1.1")
    assert (reply.status, (await reply.json())["statuscode"]) == (504, 504)
    assert await ledger.connection.fetchval("SELECT count(*) FROM event WHERE name = 'ActRequested'") == 1
