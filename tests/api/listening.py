"""Clients of events out: what comes over a stream, taken apart as a browser's EventSource does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse
from msgspec import Struct

from tests.api.conftest import Client

SECONDS = 10.0


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

    async def more(self) -> Told | None:
        """Return the next message, None when the stream has ended; ``error`` has the reason then, if one was given."""
        async with asyncio.timeout(SECONDS):
            while (block := await self._block()) is not None:
                event, data = block
                if event == "error":
                    self.error = msgspec.json.decode(data)
                elif data:
                    message = told(data)
                    assert message.id == self.last_id
                    return message
        return None

    async def take(self, number: int) -> list[Told]:
        found = []
        for _ in range(number):
            message = await self.more()
            assert message is not None, (self.error, found)
            found.append(message)
        return found

    async def rest(self) -> list[Told]:
        """Return all until the stream ends."""
        found = []
        while (message := await self.more()) is not None:
            found.append(message)
        return found

    async def upto(self, position: int) -> list[Told]:
        """Return all messages until one of that position."""
        found: list[Told] = []
        while not found or found[-1].id != str(position):
            found += await self.take(1)
        return found

    async def _block(self) -> tuple[str, str] | None:
        event, data, some = "", [], False
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
    async with client.get("/v1/events", params=params, headers=headers) as reply:
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
