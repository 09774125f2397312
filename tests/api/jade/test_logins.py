"""Logins while others guess: from one address, from many, directly and behind a trusted proxy."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest

from api.app_keys import ACCOUNTS
from services.accounts.places import MAX_PER_USER
from services.accounts.throttle import FREE_FAILURES, FREE_FAILURES_OF_USER
from tests.support.api_client import PASSWORD, Client, Serve, admin_token, basic, bearer, stop_throttle_clock
from tests.support.ledger import Ledger
from tests.support.users import MANAGED, create_user

LOGIN = "/v1/admin/login"
PROXY = {"trusted_proxies": (ip_network("127.0.0.1"),)}


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await started(serve, **PROXY)


async def started(serve: Serve, **settings: Any) -> Client:
    client = await serve(**settings)
    stop_throttle_clock(client)
    return client


async def login(client: Client, address: str, name: str = "admin", password: str = PASSWORD) -> int:
    headers = basic(name, password) | {"X-Forwarded-For": address}
    return (await client.post(LOGIN, headers=headers)).status


async def guess_from_everywhere(client: Client, name: str = "admin") -> None:
    """Guess from as many addresses as it takes until a new one has to wait."""
    statuses = [await login(client, f"198.51.100.{n}", name, "wrong") for n in range(FREE_FAILURES_OF_USER + 1)]
    assert statuses == [401] * FREE_FAILURES_OF_USER + [429]


async def test_logins_and_password_changes_survive_a_flood(client: Client) -> None:
    admin = bearer(await admin_token(client))
    flood = [asyncio.create_task(login(client, "198.51.100.1", f"nobody{n}", "x")) for n in range(60)]
    body: dict[str, Any] = {"username": "ann", "password": PASSWORD, "permissions": [{"permission": "admin"}]}
    made = await client.post(MANAGED, json=body, headers=admin)
    assert made.status == 200
    changed = await client.put(made.headers["Location"], json={"password": PASSWORD + "!"}, headers=admin)
    assert changed.status == 200
    assert await login(client, "192.0.2.1", "ann", PASSWORD + "!") == 200
    assert set(await asyncio.gather(*flood)) <= {401, 429}


async def test_only_the_guessing_address_is_slowed_down(client: Client) -> None:
    assert [await login(client, "198.51.100.1", password="wrong") for _ in range(FREE_FAILURES + 1)] == [
        401
    ] * FREE_FAILURES + [429]
    assert await login(client, "198.51.100.1:4711") == 429
    assert await login(client, "192.0.2.1") == 200


async def test_addresses_of_one_ipv6_subscriber_count_as_one(client: Client) -> None:
    guesses = [await login(client, f"2001:db8:1:2::{n}", password="wrong") for n in range(FREE_FAILURES + 1)]
    assert guesses == [401] * FREE_FAILURES + [429]
    assert await login(client, "2001:db8:1:3::1") == 200


async def test_an_invented_header_gives_no_more_guesses(serve: Serve) -> None:
    client = await started(serve)
    guesses = [await login(client, f"198.51.100.{n}", password="wrong") for n in range(FREE_FAILURES + 1)]
    assert guesses == [401] * FREE_FAILURES + [429]
    behind = await started(serve, **PROXY)
    guesses = [await login(behind, f"198.51.100.{n}, 192.0.2.9", password="wrong") for n in range(FREE_FAILURES + 1)]
    assert guesses == [401] * FREE_FAILURES + [429]


async def test_distributed_guesses_do_not_lock_the_owner_out(client: Client, serve: Serve) -> None:
    assert await login(client, "192.0.2.1") == 200
    await guess_from_everywhere(client)
    assert await login(client, "203.0.113.1") == 429
    assert await login(client, "192.0.2.1") == 200
    restarted = await started(serve, **PROXY)
    await guess_from_everywhere(restarted)
    assert (await login(restarted, "203.0.113.1"), await login(restarted, "192.0.2.1")) == (429, 200)


async def test_a_place_is_the_users_own(client: Client) -> None:
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    await create_user(client, "bob", "admin")
    assert await login(client, "192.0.2.1", "bob") == 200
    await guess_from_everywhere(client)
    assert (await login(client, "192.0.2.1"), await login(client, "192.0.2.1", "bob")) == (429, 200)


async def test_login_places_are_bounded_to_present_users(client: Client, ledger: Ledger) -> None:
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    bob = await create_user(client, "bob", "admin")
    for number in range(MAX_PER_USER + 3):
        assert await login(client, f"192.0.2.{number}", "bob") == 200
    count = "SELECT count(*) FROM ledger.login_place WHERE user_uuid = $1"
    assert await ledger.connection.fetchval(count, bob) == MAX_PER_USER
    assert (await client.delete(f"{MANAGED}/{bob}")).status == 200
    await admin_token(client)
    assert await ledger.connection.fetchval(count, bob) == 0
    texts = [str(dict(row)) for row in await ledger.connection.fetch("SELECT * FROM ledger.login_place")]
    assert len(texts) == 1
    assert "127.0.0.1" not in texts[0]
    assert client.app[ACCOUNTS].places._places
