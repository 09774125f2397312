"""The world of the requests: a recorded PBX in the log, a projector, a commander at a fake PBX, and the API."""

import asyncio
import contextlib
import io
import itertools
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal
from urllib.parse import quote, urlencode

import asyncpg
import msgspec
from yarl import URL

from api.app_keys import CHECKPOINTS, COMMANDS
from projections import ALL
from schemas.users import TokenIssued, UserCreated
from services.accounts.accounts import token_hash
from services.accounts.passwords import hash_password
from tests.contract.jade.pbx import FakePbx
from tests.contract.jade.wire import FORM, Ask, Person, Reply, judge
from tests.support.api_client import Client
from tests.support.ledger import Ledger

PASSWORD = "correct horse battery staple"
Tells = Literal["nothing", "log", "pbx"]
MODELS = tuple(model.name for model in ALL)


class World:
    """The world of all tests. Each test creates things with names of its own, so that none disturbs another."""

    def __init__(self, client: Client, ledger: Ledger, pbx: FakePbx, connection: asyncpg.Connection) -> None:
        self.client = client
        self.app = client.app
        self.ledger = ledger
        self.connection = connection
        self.pbx = pbx
        self.password_hash = hash_password(PASSWORD)
        self.secrets = {PASSWORD}
        self.patient = True
        self.made: dict[str, tuple[AsyncGenerator[Ask, Reply], Ask]] = {}
        self._numbers = itertools.count(1)
        self.admin: Person
        self.manager: Person
        self._owners: dict[str, str] = {}

    def name(self, start: str = "thing") -> str:
        """Return a name that nothing has yet."""
        return f"{start}{next(self._numbers):05}"

    def secret(self) -> str:
        """Return a new password; no answer may show it from now on."""
        made = f"pw-{uuid.uuid4()}"
        self.secrets.add(made)
        return made

    async def person(self, *permissions: str) -> Person:
        """Make a user with PASSWORD and these permissions, who is logged in."""
        (person,) = await self._people(1, permissions)
        return person

    async def two(self, *permissions: str) -> tuple[Person, Person]:
        """Make two of them."""
        one, other = await self._people(2, permissions)
        return one, other

    async def _people(self, number: int, permissions: tuple[str, ...]) -> list[Person]:
        made = [Person(str(uuid.uuid4()), self.name("user"), str(uuid.uuid4())) for _ in range(number)]
        await self.app[COMMANDS].writer.append(*(fact for person in made for fact in self._facts(person, permissions)))
        self._owners |= {person.token: person.uuid for person in made}
        await self.settled()
        return made

    def _facts(self, person: Person, permissions: tuple[str, ...]) -> tuple[UserCreated, TokenIssued]:
        name, hashed = f"Name of {person.username}", self.password_hash
        return (
            UserCreated(person.uuid, person.username, name, hashed, permissions, "user"),
            TokenIssued(token_hash(person.token), person.uuid),
        )

    @property
    def tokens(self) -> list[str]:
        """Return all tokens that were issued."""
        return list(self._owners)

    def owner(self, token: str) -> str:
        """Return the uuid of who has that token."""
        return self._owners[token]

    async def hears(self, data: bytes) -> None:
        """Have the log hear this from the PBX, and the read models fold it."""
        await self.ledger.write(data, pbx=self.pbx.name)
        await self.settled()

    async def settled(self) -> None:
        """Wait until the PBX's events are in the log, and the API has all that is folded."""
        await self.pbx.flush()
        head = await self.head()
        async with asyncio.timeout(300):
            await self.app[CHECKPOINTS].wait_folded(MODELS, head)

    async def send(self, method: str, path: str, ask: Ask, raw: bytes | None = None) -> Reply:
        """Send a request as curl does; ``raw`` is sent instead of the body that ``ask`` has."""
        query = {**({"authtoken": ask.token} if ask.token else {}), **ask.query}
        url = path.replace("{detail}", quote(ask.detail, safe=""))
        data = raw if raw is not None else None if ask.body is None else msgspec.json.encode(ask.body)
        return await self.sent(method, url + (f"?{urlencode(query)}" if query else ""), data, ask.headers)

    async def sent(self, method: str, target: str, data: bytes | None, headers: dict[str, str]) -> Reply:
        """Send these very bytes of path and query."""
        kind = {} if data is None else {"Content-Type": FORM}
        url = URL(str(self.client.make_url("/")).rstrip("/") + target, encoded=True)
        body = data if data is None else io.BytesIO(data)
        async with self.client.session.request(method, url, data=body, headers=kind | headers) as response:
            text = await response.text()
            assert response.content_type == "application/json", f"{response.status}: {text}"
            reply = Reply(response.status, dict(response.headers), msgspec.json.decode(text))
        judge(f"{method} {target}", reply, text, self.secrets)
        return reply

    async def shown(self, path: str, who: Person | None = None, **query: str) -> Reply:
        """GET what must be there; right now, unless this world is patient."""
        if self.patient:
            await self.settled()
        reply = await self.send("GET", path, Ask(query=query, token=(who or self.admin).token))
        assert reply.status == 200, f"{path}: {reply.body}"
        return reply

    async def one(self, path: str, who: Person | None = None, /, **members: Any) -> dict[str, Any]:
        """Return the one item of a list that has these members."""
        items = (await self.shown(path, who)).items
        matches = [item for item in items if all(item.get(name) == value for name, value in members.items())]
        assert len(matches) == 1, f"{path} has {len(matches)} of {members}"
        return matches[0]

    async def gone(self, path: str, detail: str, who: Person | None = None) -> None:
        """Assert that a detail is not there; right now, unless this world is patient."""
        if self.patient:
            await self.settled()
        reply = await self.send("GET", path + "/{detail}", Ask(detail, token=(who or self.admin).token))
        assert reply.status == 404, f"{path}/{detail}: {reply.body}"

    @contextlib.asynccontextmanager
    async def unchanged(self, tells: Tells = "nothing") -> AsyncIterator[None]:
        """Assert that the block appends no more than that, and sends the PBX no action."""
        await self.settled()
        before, actions = await self.head(), len(self.pbx.asked_for)
        yield
        if tells != "pbx":
            assert self.pbx.asked_for[actions:] == []
        if tells == "nothing":
            assert await self.head() == before, "the log has grown"

    async def head(self) -> int:
        """Return the position of the last event."""
        head: int = await self.connection.fetchval("SELECT position FROM head")
        return head
