"""A client of ``/v1/events``, which parses the stream as a browser's EventSource does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientTimeout
from msgspec import Struct

from tests.support.api_client import Client

SECONDS = 300.0


class StreamMessage(Struct, frozen=True):
    """One message: ``what`` is the name of its member, ``of`` is the resource."""

    id: str
    what: str
    of: dict[str, Any]
    topic: str
    position: int


def decode_message(data: str | bytes) -> StreamMessage:
    (what, of), *rest = msgspec.json.decode(data).items()
    more = dict(rest)
    assert set(more) == {"topic", "position", "id"}
    return StreamMessage(more["id"], what, of, more["topic"], more["position"])


class EventStream:
    """One stream of server-sent events. ``last_id`` is the Last-Event-ID of the next connection."""

    def __init__(self, reply: ClientResponse) -> None:
        self.reply = reply
        self.last_id = ""
        self.retry = 0
        self.error: dict[str, Any] | None = None
        self.over = False

    async def next(self) -> StreamMessage | None:
        """Return the next message, or None for the position of a quiet stream and for its end (``over``)."""
        block = await self._block()
        if block is None:
            self.over = True
            return None
        event, data = block
        if event == "error":
            self.error = msgspec.json.decode(data)
        elif data:
            message = decode_message(data)
            assert message.id == self.last_id
            return message
        return None

    async def take(self, number: int) -> list[StreamMessage]:
        """Return the next ``number`` messages."""
        messages: list[StreamMessage] = []
        async with asyncio.timeout(SECONDS):
            while len(messages) < number:
                if (message := await self.next()) is not None:
                    messages.append(message)
                assert not self.over, (self.error, messages)
        return messages

    async def rest(self) -> list[StreamMessage]:
        """Return all messages until the stream ends; ``error`` has the reason, if the server sent one."""
        messages: list[StreamMessage] = []
        async with asyncio.timeout(SECONDS):
            while not self.over:
                if (message := await self.next()) is not None:
                    messages.append(message)
        return messages

    def has_reached(self, position: int) -> bool:
        """Return whether all messages up to the position have come. The log may grow, if only by a use of the token."""
        whole, _, part = self.last_id.partition(".")
        return int(whole or 0) - bool(part) >= position

    async def upto(self, position: int) -> AsyncIterator[StreamMessage]:
        """Yield all messages until the stream sends the position, which it does when it is quiet."""
        async with asyncio.timeout(4 * SECONDS):  # includes the time that the reader takes for each message
            while not self.has_reached(position):
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
async def open_stream(
    client: Client, *topics: str, last: str | int | None = None, **query: str
) -> AsyncIterator[EventStream]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    params = [*(("topic", topic) for topic in topics), *query.items()]
    patience = ClientTimeout(total=None, sock_read=SECONDS)
    async with client.get("/v1/events", params=params, headers=headers, timeout=patience) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.content_type == "text/event-stream"
        yield EventStream(reply)


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


class ResourceMirror:
    """The resources that a client builds from messages, by kind and key."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}

    def take(self, message: StreamMessage) -> None:
        """Apply a message. A resource that is created must be new; one that is updated or deleted must exist."""
        kind, _, verb = message.what.rpartition(".")
        resources = self.resources.setdefault(kind, {})
        members = IDENTITY.get(kind) or ("pbx", "object_name" if kind.startswith("pjsip.") else "name")
        key = tuple(message.of[member] for member in members)
        assert (key in resources) == (verb != "create"), message
        if verb == "delete":
            del resources[key]
        else:
            resources[key] = message.of

    def of(self, kind: str) -> list[dict[str, Any]]:
        return list(self.resources.get(kind, {}).values())
