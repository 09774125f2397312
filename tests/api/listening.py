"""Clients of events out: what comes over a stream, taken apart as a browser's EventSource does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientTimeout
from msgspec import Struct

from tests.api.conftest import Client

SECONDS = 300.0


class Told(Struct, frozen=True):
    """One message: ``what`` is the name of its member, ``of`` the resource."""

    id: str
    what: str
    of: dict[str, Any]
    topic: str
    position: int


def told(data: str | bytes) -> Told:
    (what, of), *rest = msgspec.json.decode(data).items()
    more = dict(rest)
    assert set(more) == {"topic", "position", "id"}
    return Told(more["id"], what, of, more["topic"], more["position"])


class Listening:
    """One stream of server-sent events; ``last_id`` is what EventSource would send when it connects again."""

    def __init__(self, reply: ClientResponse) -> None:
        self.reply = reply
        self.last_id = ""
        self.retry = 0
        self.error: dict[str, Any] | None = None
        self.over = False

    async def next(self) -> Told | None:
        """Return the next message, or None: a quiet stream has said how far it is, or it has ended (``over``)."""
        block = await self._block()
        if block is None:
            self.over = True
            return None
        event, data = block
        if event == "error":
            self.error = msgspec.json.decode(data)
        elif data:
            message = told(data)
            assert message.id == self.last_id
            return message
        return None

    async def take(self, number: int) -> list[Told]:
        """Return so many messages."""
        found: list[Told] = []
        async with asyncio.timeout(SECONDS):
            while len(found) < number:
                if (message := await self.next()) is not None:
                    found.append(message)
                assert not self.over, (self.error, found)
        return found

    async def rest(self) -> list[Told]:
        """Return all until the stream ends; ``error`` has the reason then, if one was given."""
        found: list[Told] = []
        async with asyncio.timeout(SECONDS):
            while not self.over:
                if (message := await self.next()) is not None:
                    found.append(message)
        return found

    def has_come_to(self, position: int) -> bool:
        """Tell whether it has told all up to a position: the log may go on, if only with a use of the token."""
        whole, _, part = self.last_id.partition(".")
        return int(whole or 0) - bool(part) >= position

    async def upto(self, position: int) -> AsyncIterator[Told]:
        """Yield all messages until the stream has come to a position, as it says by itself when it is quiet."""
        async with asyncio.timeout(4 * SECONDS):  # what the reader does with each message counts too
            while not self.has_come_to(position):
                if (message := await self.next()) is not None:
                    yield message
                assert not self.over, self.error

    async def _block(self) -> tuple[str, str] | None:
        event, some = "", False
        data: list[str] = []
        while line := await self.reply.content.readline():
            name, _, value = line.decode().rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            if line == b"\n":
                if some:
                    return event, "\n".join(data)
                continue
            some = True
            if name == "data":
                data.append(value)
            elif name == "event":
                event = value
            elif name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            else:
                assert name == "", line
        return None


@asynccontextmanager
async def listening(
    client: Client, *topics: str, last: str | int | None = None, **query: str
) -> AsyncIterator[Listening]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    params = [*(("topic", topic) for topic in topics), *query.items()]
    patience = ClientTimeout(total=None, sock_read=SECONDS)
    async with client.get("/v1/events", params=params, headers=headers, timeout=patience) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.content_type == "text/event-stream"
        yield Listening(reply)


IDENTITY = {
    "queue.member": ("pbx", "queue_name", "location"),
    "queue.entry": ("pbx", "queue_name", "unique_id"),
    "core.channel": ("pbx", "unique_id"),
    "park.parkedcall": ("pbx", "parkee_unique_id"),
    "pjsip.contact": ("pbx", "aor", "uri"),
    "pjsip.registration_outbound": ("pbx", "client_uri", "server_uri", "object_name"),
    "sip.registry": ("pbx", "username", "host", "account"),
    "sip.peer": ("pbx", "peer"),
    "device.state": ("pbx", "device"),
    "agent.agent": ("pbx", "id"),
    "core.system": ("pbx", "id"),
}


class Kept:
    """What a client makes of messages that it hears: the resources by kind, and by what tells them apart."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}

    def take(self, message: Told) -> None:
        """Do what it says; whoever is created was not there, who is updated or deleted was."""
        kind, _, verb = message.what.rpartition(".")
        there = self.resources.setdefault(kind, {})
        members = IDENTITY.get(kind) or ("pbx", "object_name" if kind.startswith("pjsip.") else "name")
        key = tuple(message.of[member] for member in members)
        assert (key in there) == (verb != "create"), message
        if verb == "delete":
            del there[key]
        else:
            there[key] = message.of

    def of(self, kind: str) -> list[dict[str, Any]]:
        return list(self.resources.get(kind, {}).values())
