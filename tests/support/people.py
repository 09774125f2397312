"""People for tests of the API: made and logged in as a client makes and logs in them."""

import itertools
from typing import Any

import msgspec
from aiohttp import ClientResponse

from tests.api.conftest import PASSWORD, Client, Ledger, basic

USERS, MANAGED = "/v1/admin/user/users", "/v1/manager/users"
PERMISSIONS, CONTACTS = "/v1/admin/user/permissions", "/v1/admin/user/contacts"
FAMILY = {"admin": "admin", "manager": "manager", "user": "me"}
NUMBERS = itertools.count(1)
NOBODYS = "7ac326bf-e146-493a-b9c7-bfb990264b59"


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def logged_in(client: Client, username: str, family: str = "me", password: str = PASSWORD) -> str:
    reply = await client.post(f"/v1/{family}/login", headers=basic(username, password))
    assert reply.status == 200, await reply.text()
    token: str = (await reply.json())["result"]["authtoken"]
    return token


async def made(reply: ClientResponse) -> str:
    """Return the uuid of what was created."""
    assert reply.status == 200, await reply.text()
    assert (await reply.json()).keys() == {"api_ver", "statuscode", "timestamp"}
    return reply.headers["Location"].rpartition("/")[2]


async def person(client: Client, username: str, *permissions: str, **more: Any) -> str:
    """Create a user with these permissions, and return the uuid."""
    body = {"username": username, "password": PASSWORD, "permissions": [{"permission": p} for p in permissions]}
    return await made(await client.post(MANAGED, json=body | more))


async def contact(client: Client, user_uuid: str, target: str, **more: Any) -> str:
    body = {"user_uuid": user_uuid, "type": "pjsip_endpoint", "target": target}
    return await made(await client.post(CONTACTS, json=body | more))


async def one(client: Client, path: str, **headers: str) -> Any:
    reply = await client.get(path, headers=headers)
    assert reply.status == 200, await reply.text()
    return (await reply.json())["result"]


async def listed(client: Client, path: str, **headers: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await one(client, path, **headers))["list"]
    return items


async def refused(reply: ClientResponse, status: int) -> str:
    """Expect an error in jade's envelope, and return its text."""
    body = await reply.json()
    assert (reply.status, body["statuscode"], "result" in body) == (status, status, False), body
    message: str = body["message"]
    return message


async def events(ledger: Ledger, *names: str) -> list[dict[str, Any]]:
    rows = await ledger.connection.fetch(
        "SELECT name, raw FROM event WHERE source = 'ringledger' AND name = ANY($1) ORDER BY position", names
    )
    return [{"name": row["name"], **msgspec.json.decode(row["raw"])} for row in rows]


async def head(ledger: Ledger) -> int:
    position: int = await ledger.connection.fetchval("SELECT position FROM head")
    return position
