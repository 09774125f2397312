"""Users of the API: created and logged in over HTTP, or by events that a test appends."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import ClientResponse
from msgspec import Struct

from api.app_keys import ACCOUNTS, CHECKPOINTS, COMMANDS
from schemas.facts import Fact
from schemas.users import TokenIssued, UserCreated
from services.accounts.accounts import token_hash
from services.accounts.passwords import hash_password
from tests.support.api_client import PASSWORD, Client, bearer
from tests.support.ledger import Ledger

USERS, MANAGED = "/v1/admin/user/users", "/v1/manager/users"
PERMISSIONS, CONTACTS = "/v1/admin/user/permissions", "/v1/admin/user/contacts"
UNKNOWN_UUID = "7ac326bf-e146-493a-b9c7-bfb990264b59"
MODELS = ("buddies", "chats", "messages", "rooms", "tokens", "users")


async def create_user(client: Client, username: str, *permissions: str, **members: Any) -> str:
    """Create a user with these permissions, and return the uuid."""
    body = {"username": username, "password": PASSWORD, "permissions": [{"permission": p} for p in permissions]}
    return await created_uuid(await client.post(MANAGED, json=body | members))


async def create_contact(client: Client, user_uuid: str, target: str, **members: Any) -> str:
    body = {"user_uuid": user_uuid, "type": "pjsip_endpoint", "target": target}
    return await created_uuid(await client.post(CONTACTS, json=body | members))


async def created_uuid(reply: ClientResponse) -> str:
    """Expect a creation, and return the uuid in its Location."""
    assert reply.status == 200, await reply.text()
    assert (await reply.json()).keys() == {"api_ver", "statuscode", "timestamp"}
    return reply.headers["Location"].rpartition("/")[2]


async def get_result(client: Client, path: str, **headers: str) -> Any:
    reply = await client.get(path, headers=headers)
    assert reply.status == 200, await reply.text()
    return (await reply.json())["result"]


async def get_list(client: Client, path: str, **headers: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await get_result(client, path, **headers))["list"]
    return items


async def error_message(reply: ClientResponse, status: int) -> str:
    """Expect an error in jade's envelope, and return its message."""
    body = await reply.json()
    assert (reply.status, body["statuscode"], "result" in body) == (status, status, False), body
    message: str = body["message"]
    return message


async def own_events(ledger: Ledger, *names: str) -> list[dict[str, Any]]:
    """Return Ringledger's own events of these names, in the order of the log."""
    rows = await ledger.connection.fetch(
        "SELECT name, raw FROM event WHERE source = 'ringledger' AND name = ANY($1) ORDER BY position", names
    )
    return [{"name": row["name"], **msgspec.json.decode(row["raw"])} for row in rows]


async def log_position(ledger: Ledger) -> int:
    position: int = await ledger.connection.fetchval("SELECT position FROM head")
    return position


class ApiResponse(Struct):
    """A response; the envelope of an error has no ``result``."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def result(self) -> Any:
        return self.body.get("result")


class UserClient(Struct):
    """A user who is logged in at one API process."""

    client: Client
    uuid: str
    token: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> ApiResponse:
        """Send a request, with a body of JSON or of these bytes; "_" in a header's name stands for "-"."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        all_headers = bearer(self.token) | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, data=data, headers=all_headers) as reply:
            raw = await reply.read()
            return ApiResponse(reply.status, reply.headers, msgspec.json.decode(raw) if raw else {})

    async def get(self, path: str) -> Any:
        """Return the result of a view that must exist."""
        response = await self.ask("GET", path)
        assert response.status == 200, response
        return response.result

    async def send(self, method: str, path: str, body: Any = None) -> ApiResponse:
        """Send a write that must not be refused."""
        response = await self.ask(method, path, body)
        assert (response.status, response.result) == (200, None), response
        return response


async def append_facts(client: Client, *facts: Fact) -> None:
    """Append facts without a request, and wait until they are folded."""
    position = await client.app[COMMANDS].writer.append(*facts)
    await client.app[CHECKPOINTS].wait_folded(MODELS, position)


async def add_user(client: Client, name: str, user_uuid: str, *permissions: str) -> UserClient:
    """Append a user, by default with the permission ``user``, and log in."""
    await append_facts(client, UserCreated(user_uuid, name, name, "", permissions or ("user",), origin="user"))
    return await issue_token(client, name)


async def issue_token(client: Client, name: str) -> UserClient:
    """Log a user in without a password."""
    user, token = client.app[ACCOUNTS].by_name[name], str(uuid.uuid4())
    await append_facts(client, TokenIssued(token_hash(token), user.uuid))
    return UserClient(client, user.uuid, token)


async def add_user_with_password(client: Client, name: str, *permissions: str) -> None:
    hashed = hash_password(PASSWORD)
    position = await client.app[COMMANDS].writer.append(
        UserCreated(name, name, name, hashed, permissions, origin="user")
    )
    await client.app[CHECKPOINTS].wait_folded(("users",), position)


async def events_named(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    rows = await ledger.connection.fetch("SELECT raw FROM event WHERE name = $1 ORDER BY position", name)
    return [msgspec.json.decode(row["raw"]) for row in rows]
