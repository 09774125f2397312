"""Users of a test, and what they ask of the API."""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from api.app_keys import ACCOUNTS, COMMANDS, FRESHNESS
from schemas.facts import Fact
from schemas.users import TokenIssued, UserCreated
from services.accounts.accounts import token_hash
from tests.api.conftest import Client


class Answer(Struct):
    """What came back; ``result`` is None where the envelope has none."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def result(self) -> Any:
        return self.body.get("result")


class Person(Struct):
    """A user who is logged in at one API process."""

    client: Client
    uuid: str
    token: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask, with a body of JSON or of these bytes; "_" in a header's name stands for "-"."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {self.token}"} | {n.replace("_", "-"): v for n, v in headers.items()}
        async with self.client.request(method, path, data=data, headers=sent) as reply:
            raw = await reply.read()
            return Answer(reply.status, reply.headers, msgspec.json.decode(raw) if raw else {})

    async def get(self, path: str) -> Any:
        """Return the result of a view that must be there."""
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.result

    async def send(self, method: str, path: str, body: Any = None) -> Answer:
        """Have something written that must not be refused."""
        answer = await self.ask(method, path, body)
        assert (answer.status, answer.result) == (200, None), answer
        return answer


async def tell(client: Client, *facts: Fact) -> None:
    """Append facts as if somebody had decided them; they are folded when this returns."""
    position = await client.app[COMMANDS].writer.append(*facts)
    models = ("buddies", "chats", "messages", "rooms", "tokens", "users")
    await client.app[FRESHNESS].folded(models, position)


async def arrive(client: Client, name: str, user_uuid: str, *permissions: str) -> Person:
    """Make a user, who logs in; without more the permission is ``user``."""
    await tell(client, UserCreated(user_uuid, name, name, "", permissions or ("user",), origin="user"))
    return await enter(client, name)


async def enter(client: Client, name: str) -> Person:
    """Log a user in without a password."""
    user, token = client.app[ACCOUNTS].by_name[name], str(uuid.uuid4())
    await tell(client, TokenIssued(token_hash(token), user.uuid))
    return Person(client, user.uuid, token)
