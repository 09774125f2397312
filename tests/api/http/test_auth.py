"""Logins, tokens and permissions of readers."""

import asyncio
import re
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import asyncpg
import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.app_keys import ACCOUNTS, CHECKPOINTS, COMMANDS, SETTINGS
from schemas.log import NewEvent
from schemas.settings import Settings
from schemas.users import TokenRevoked, TokenUsed, UserCreated
from services.accounts.accounts import IDLE_SECONDS, Accounts, token_hash
from services.accounts.passwords import admin_password, hash_password, password_file
from services.accounts.throttle import FREE_FAILURES
from services.database.connection import create_pool
from services.database.pool import Pool
from services.log.writer import MAX_ATTEMPTS, EventWriter, UnknownAppendError
from services.runtime.clock import Clock
from tests.support.api_client import PASSWORD, Client, RecordedApi, Serve, admin_token, basic, stop_throttle_clock
from tests.support.ledger import Ledger
from tests.support.users import add_user_with_password

VIEW = "/v1/admin/core/channels"
NO_UTF8: dict[str, Any] = {"params": "%ff"}


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve()


async def test_a_token_works_as_query_header_and_cookie(client: Client) -> None:
    token = await admin_token(client)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", token)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 200
    assert (await client.get(VIEW, headers={"Authorization": f"Bearer {token}"})).status == 200
    assert (await client.get(VIEW, cookies={"authtoken": token})).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"params": {"authtoken": "no-such-token"}},
        {"params": {"authtoken": ""}},
        NO_UTF8,
        {"headers": {"Authorization": "Bearer 7ac326bf-e146-493a-b9c7-bfb990264b59"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": basic("admin", PASSWORD)},
        {"headers": {"Cookie": "authtoken=x"}},
    ],
)
@pytest.mark.parametrize("path", [VIEW, "/admin/core/channels/1.1", "/agents", "/agents/", "/api/usage/2026-11"])
async def test_every_view_requires_a_valid_token(recorded: RecordedApi, path: str, credentials: dict[str, Any]) -> None:
    client, headers = recorded.client, {"Authorization": ""} | credentials.get("headers", {})
    if credentials == NO_UTF8:
        credentials, path = {}, path + "?authtoken=%ff"
    reply = await client.get(path, **(credentials | {"headers": headers}))
    assert reply.status == 401
    body = await reply.json()
    assert body == {"status": "no-session"} if path.startswith("/api/") else body["statuscode"] == 401
    assert "result" not in body


@pytest.mark.parametrize(
    "headers",
    [
        basic("admin", "wrong"),
        basic("nobody", PASSWORD),
        basic("admin", ""),
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YWRtaW4="},
        {"Authorization": "Basic //79"},
        {"Authorization": "Bearer x"},
    ],
)
async def test_a_bad_login_is_refused(recorded: RecordedApi, headers: dict[str, str]) -> None:
    reply = await recorded.client.post("/v1/admin/login", headers={"Authorization": ""} | headers)
    assert reply.status == 401
    body = await reply.json()
    assert (body["api_ver"], body["statuscode"], "result" in body) == ("0.1", 401, False)


async def test_a_logout_ends_only_its_token(client: Client) -> None:
    token, other = await admin_token(client), await admin_token(client)
    reply = await client.delete("/v1/admin/login", params={"authtoken": token})
    assert (reply.status, "result" in await reply.json()) == (200, False)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 401
    assert (await client.delete("/admin/login", params={"authtoken": token})).status == 401
    assert (await client.get(VIEW, params={"authtoken": other})).status == 200


def clock_after(passed: float, now: float | None = None) -> Clock:
    """Return clocks that are ``passed`` seconds ahead; with ``now`` the wall clock was set to another time."""
    ahead = passed if now is None else now
    return Clock(lambda: time.time() + ahead, lambda: time.monotonic() + passed)


async def test_a_token_expires_after_an_hour_without_use(client: Client) -> None:
    accounts = client.app[ACCOUNTS]
    token = await admin_token(client)
    accounts._clock = clock_after(IDLE_SECONDS - 60)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 200
    accounts._clock = clock_after(2 * IDLE_SECONDS - 180)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 200
    accounts._clock = clock_after(3 * IDLE_SECONDS)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 401


async def reread(client: Client) -> None:
    """Make the process read users and tokens again, as after a change of either."""
    await add_user_with_password(client, f"user-{uuid.uuid4()}", "user")


async def test_a_brief_clock_jump_ends_no_token(client: Client) -> None:
    accounts, year = client.app[ACCOUNTS], 365 * 86400.0
    token = await admin_token(client)
    accounts._clock = clock_after(60, now=year)
    await admin_token(client)  # a login also deletes expired tokens
    assert (await client.get(VIEW, params={"authtoken": token})).status == 200
    accounts._clock = clock_after(120)
    await reread(client)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 200


async def test_a_clock_set_back_revives_no_token(client: Client) -> None:
    accounts = client.app[ACCOUNTS]
    token = await admin_token(client)
    accounts._clock = clock_after(IDLE_SECONDS + 60, now=-86400)
    await reread(client)
    assert (await client.get(VIEW, params={"authtoken": token})).status == 401


async def test_a_future_use_of_a_token_expires_too(client: Client) -> None:
    accounts, year = client.app[ACCOUNTS], 365 * 86400.0
    token = await admin_token(client)
    position = await client.app[COMMANDS].writer.append(TokenUsed(token_hash(token), time.time() + year))
    await client.app[CHECKPOINTS].wait_folded(("tokens",), position)
    accounts._clock = clock_after(IDLE_SECONDS + 60)
    await reread(client)
    assert accounts.unsaved_uses(0.0) == []
    assert (await client.get(VIEW, params={"authtoken": token})).status == 401


async def test_a_login_and_a_view_require_permissions(client: Client) -> None:
    await add_user_with_password(client, "jeye", "jeye")
    reply = await client.post("/v1/admin/login", headers=basic("jeye", PASSWORD))
    assert reply.status == 403
    await add_user_with_password(client, "second", "admin")
    assert (
        await client.get("/api/usage/2000-01", params={"authtoken": await admin_token(client, "second")})
    ).status == 404


async def test_the_log_has_only_hashes_of_secrets(client: Client, ledger: Ledger) -> None:
    token = await admin_token(client)
    raws = b"".join([r["raw"] for r in await ledger.connection.fetch("SELECT raw FROM event")])
    assert token_hash(token).encode() in raws
    assert b"$argon2id$" in raws
    assert token.encode() not in raws
    assert PASSWORD.encode() not in raws


async def test_pbx_events_create_no_user_or_token(client: Client, ledger: Ledger) -> None:
    token = "7ac326bf-e146-493a-b9c7-bfb990264b59"
    eve = UserCreated("x", "eve", "Eve", hash_password("eve"), ("admin",), origin="user")
    position = await ledger.write(
        f"Event: TokenIssued\r\ntoken_hash: {token_hash(token)}\r\nuser_uuid: x\r\n\r\n".encode(),
        NewEvent("ari", "UserCreated", None, time.time(), msgspec.json.encode(eve)),
    )
    await client.app[CHECKPOINTS].wait_folded(("users", "tokens"), position)
    assert (await client.post("/v1/admin/login", headers=basic("eve", "eve"))).status == 401
    assert (await client.get(VIEW, params={"authtoken": token})).status == 401
    assert await ledger.connection.fetchval("SELECT count(*) FROM tokens") == 0
    assert await ledger.connection.fetchval("SELECT count(*) FROM users") == 1


async def test_failed_logins_throttle_the_right_password_too(client: Client) -> None:
    stop_throttle_clock(client)
    statuses = [
        (await client.post("/v1/admin/login", headers=basic("admin", "wrong"))).status for _ in range(FREE_FAILURES + 1)
    ]
    assert statuses == [401] * FREE_FAILURES + [429]
    reply = await client.post("/v1/admin/login", headers=basic("admin", PASSWORD))
    assert reply.status == 429
    assert int(reply.headers["Retry-After"]) >= 1
    assert (await reply.json())["statuscode"] == 429
    stop_throttle_clock(client, 2.0)
    await admin_token(client)
    assert (await client.post("/v1/admin/login", headers=basic("admin", "wrong"))).status == 401


async def test_concurrent_guesses_are_counted_one_by_one(client: Client) -> None:
    stop_throttle_clock(client)
    replies = await asyncio.gather(*(client.post("/v1/admin/login", headers=basic("admin", str(n))) for n in range(20)))
    assert sorted(r.status for r in replies) == [401] * FREE_FAILURES + [429] * (20 - FREE_FAILURES)


async def test_two_processes_share_their_tokens(serve: Serve) -> None:
    one, two = await serve(), await serve()
    token = await admin_token(one)
    assert (await two.get(VIEW, params={"authtoken": token})).status == 200
    assert (await two.delete("/v1/admin/login", params={"authtoken": token})).status == 200
    await one.app[CHECKPOINTS].refresh()
    assert (await one.get(VIEW, params={"authtoken": token})).status == 401


async def test_logins_are_503_before_users_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.projector.checkpoints.waits.REFRESH_SECONDS", 0.05)
    app = create("postgresql://nobody@/none?host=/nonexistent", Settings(data=tmp_path, admin_password=PASSWORD))
    async with TestClient(TestServer(app)) as client:
        for reply in (
            await client.get(VIEW, params={"authtoken": "0" * 36}),
            await client.post("/v1/admin/login", headers=basic("admin", PASSWORD)),
        ):
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1"), await reply.text()
        assert (await client.get(VIEW)).status == 401


async def test_several_processes_create_one_admin(serve: Serve, ledger: Ledger) -> None:
    await asyncio.gather(serve(), serve(), serve())
    assert await ledger.connection.fetchval("SELECT count(*) FROM users") == 1


async def test_a_new_password_setting_ends_old_logins(serve: Serve) -> None:
    one = await serve()
    old = await admin_token(one)
    two = await serve(admin_password="another one")
    assert (await two.post("/v1/admin/login", headers=basic("admin", PASSWORD))).status == 401
    await admin_token(two, password="another one")
    assert (await two.get(VIEW, params={"authtoken": old})).status == 401


async def test_a_generated_password_is_stored_once(serve: Serve) -> None:
    one = await serve(admin_password="")
    settings = one.app[SETTINGS]
    password = admin_password(settings)
    assert len(password) >= 16
    assert password_file(settings).stat().st_mode & 0o777 == 0o600
    await admin_token(one, password=password)
    two = await serve(admin_password="")
    await admin_token(two, password=admin_password(Settings(data=settings.data)))


async def test_the_use_of_a_token_survives_a_restart(
    serve: Serve, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await serve()
    token = await admin_token(one)
    one.app[ACCOUNTS]._clock = clock_after(3000)
    assert (await one.get(VIEW, params={"authtoken": token})).status == 200
    await one.close()
    monkeypatch.setattr("api.app.Accounts", partial(Accounts, clock_after(6000)))
    two = await serve()
    assert (await two.get(VIEW, params={"authtoken": token})).status == 200
    names = [r["name"] for r in await ledger.connection.fetch("SELECT name FROM event WHERE name LIKE 'Token%'")]
    assert names == ["TokenIssued", "TokenUsed"]


class LossyPool:
    """A pool that loses its first results after the commit."""

    def __init__(self, pool: asyncpg.Pool, lost: int) -> None:
        self._pool = pool
        self._lost = lost

    def acquire(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def fetchval(self, *args: object) -> object:
        result = await self._pool.fetchval(*args)
        self._lost -= 1
        if self._lost >= 0:
            raise ConnectionResetError
        return result


@pytest.mark.parametrize("lost", [0, 1, MAX_ATTEMPTS])
async def test_facts_are_appended_once_despite_lost_results(ledger: Ledger, lost: int) -> None:
    pool = await create_pool(ledger.url, size=2)
    writer = EventWriter(cast("Pool", LossyPool(pool, lost)))
    for name in ("a", "b", "c"):
        try:
            await writer.append(TokenRevoked(name, "logout"))
        except UnknownAppendError:
            assert (name, lost) == ("a", MAX_ATTEMPTS)
    raws = [r["raw"] for r in await ledger.connection.fetch("SELECT raw FROM event ORDER BY position")]
    assert [msgspec.json.decode(raw)["token_hash"] for raw in raws] == ["a", "b", "c"]
    await pool.close()


async def test_the_root_views_can_be_opened(serve: Serve) -> None:
    client = await serve(open_views=True)
    assert (await client.get("/agents")).status == 200
    assert (await client.get("/v1/agents")).status == 401
    assert (await client.get("/v1/admin/core/channels")).status == 401
