"""Decisions: exact among many at once, repeated under a key, and with their actor in the log."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import Meta, Struct

from api.app import create
from api.app_keys import SEEDED
from api.http.auth import require_permission
from api.http.body import read_body
from api.http.idempotency import command_args
from api.jade.writes import location_of, write_response
from schemas.settings import Settings
from schemas.users import UserCreated
from services.commands.decide import Decision, decide
from services.runtime.errors import Conflict
from tests.support.api_client import PASSWORD, Client, admin_token
from tests.support.ledger import Ledger

PATH = "/v1/test/users"


class NewUser(Struct):
    username: Annotated[str, Meta(min_length=1, max_length=20)]


async def make(request: web.Request) -> web.Response:
    """Make a user whose name is not taken."""
    body = await read_body(request, NewUser)

    async def decision(connection: asyncpg.Connection) -> Decision:
        if await connection.fetchval("SELECT count(*) FROM users WHERE username = $1", body.username):
            raise Conflict("that name is taken")
        made = UserCreated(str(uuid.uuid4()), body.username, "", "", (), origin="user")
        return Decision([made], result={"uuid": made.uuid}, location=location_of(request, "/test/users", made.uuid))

    return write_response(await decide(*await command_args(request), ("users",), decision))


async def started(ledger: Ledger, data: Path) -> Client:
    app = create(ledger.url, Settings(data=data, admin_password=PASSWORD))
    app.router.add_post(PATH, require_permission("admin", make))
    client = TestClient(TestServer(app))
    await client.start_server()
    async with asyncio.timeout(300):
        await app[SEEDED].wait()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    return client


@pytest.fixture
async def client(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Client]:
    client = await started(ledger, tmp_path)
    yield client
    await client.close()


async def users(ledger: Ledger) -> list[str]:
    rows = await ledger.connection.fetch("SELECT username FROM users ORDER BY username")
    return [row["username"] for row in rows]


async def test_a_decision_is_folded_when_it_is_answered(client: Client, ledger: Ledger) -> None:
    reply = await client.post(PATH, json={"username": "bob"}, headers={"X-Request-Id": "r-1"})
    assert reply.status == 200
    row = await ledger.connection.fetchrow(
        "SELECT uuid, (SELECT max(position) FROM event) AS last FROM users WHERE username = 'bob'"
    )
    assert row is not None
    assert (await reply.json())["result"] == {"uuid": row["uuid"]}
    assert reply.headers["Location"] == f"/v1/test/users/{row['uuid']}"
    assert reply.headers["X-Ledger-Position"] == str(row["last"])
    raw = await ledger.connection.fetchval(
        "SELECT raw FROM event WHERE name = 'UserCreated' ORDER BY position DESC LIMIT 1"
    )
    fact = msgspec.json.decode(raw)
    admin = await ledger.connection.fetchval("SELECT uuid FROM users WHERE username = 'admin'")
    assert (fact["actor"], fact["dialect"], fact["request"]) == (admin, "jade", "r-1")


async def test_concurrent_requests_get_a_name_once(client: Client, ledger: Ledger, tmp_path: Path) -> None:
    other = await started(ledger, tmp_path)
    replies = await asyncio.gather(*(c.post(PATH, json={"username": "bob"}) for c in (client, other) * 4))
    await other.close()
    assert sorted(reply.status for reply in replies) == [200] + [409] * 7
    assert await users(ledger) == ["admin", "bob"]


async def test_the_same_key_decides_once_and_answers_alike(client: Client, ledger: Ledger) -> None:
    headers = {"Idempotency-Key": "k" * 255}
    first, again = [await client.post(PATH, json={"username": "bob"}, headers=headers) for _ in range(2)]
    assert (first.status, again.status) == (200, 200)
    assert (await first.json())["result"] == (await again.json())["result"]
    assert first.headers["Location"] == again.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await users(ledger) == ["admin", "bob"]


async def test_the_same_key_with_another_body(client: Client, ledger: Ledger) -> None:
    headers = {"Idempotency-Key": "key"}
    assert (await client.post(PATH, json={"username": "bob"}, headers=headers)).status == 200
    assert (await client.post(PATH, json={"username": "eve"}, headers=headers)).status == 422
    assert await users(ledger) == ["admin", "bob"]


async def test_a_refusal_is_not_kept_under_the_key(client: Client, ledger: Ledger) -> None:
    """Once the name is free the same request may be made again."""
    await client.post(PATH, json={"username": "bob"})
    headers = {"Idempotency-Key": "key"}
    assert (await client.post(PATH, json={"username": "bob"}, headers=headers)).status == 409
    assert await ledger.connection.fetchval("SELECT count(*) FROM event WHERE name = 'RequestAnswered'") == 0


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "not a JSON object"),
        (b"username=bob", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"bob"', "not a JSON object"),
        (b'{"username": "\xff"}', "not a JSON object"),
        (b'{"username": "\\ud800"}', "not a JSON object"),
        (b"{}", "username"),
        (b'{"username": 7}', "username"),
        (b'{"username": null}', "username"),
        (b'{"username": ""}', "username"),
        (b'{"username": "123456789012345678901"}', "username"),
        (b'{"username": "a\\u0000b"}', "NUL"),
        (b'{"username": "bob", "more": {"x": ["\\u0000"]}}', "NUL"),
        (b'{"username": "bob", "a\\u0000": 1}', "NUL"),
    ],
)
async def test_a_body_that_is_none_changes_nothing(client: Client, ledger: Ledger, sent: bytes, why: str) -> None:
    before = await ledger.connection.fetchval("SELECT position FROM head")
    reply = await client.post(PATH, data=sent)
    body: dict[str, Any] = await reply.json()
    assert (reply.status, body["statuscode"]) == (400, 400)
    assert why in body["message"]
    assert await ledger.connection.fetchval("SELECT position FROM head") == before


async def test_json_is_json_whatever_its_content_type(client: Client) -> None:
    """As `curl -d` sends it, with an unknown member."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await client.post(PATH, data=b'{"username": "b\xc3\xb6b \xf0\x9f\x98\x80", "uuid": 1}', headers=headers)
    assert reply.status == 200


async def test_a_decision_without_its_models_is_503(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.commands.decide.FOLD_SECONDS", 0.2)
    await ledger.connection.execute("BEGIN; LOCK TABLE checkpoint IN EXCLUSIVE MODE")
    try:
        await ledger.write(b"Event: Anything\r\n\r\n")
        reply = await client.post(PATH, json={"username": "bob"})
    finally:
        await ledger.connection.execute("ROLLBACK")
    assert reply.status == 503
    assert await users(ledger) == ["admin"]
