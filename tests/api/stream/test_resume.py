"""A stream that resumes anywhere gets each message once, whatever happens in between."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api.stream import client_stream, hub, live_buffer, sse
from schemas.log import NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.log.read import head_position
from tests.contract import operations
from tests.support import two_pbx_log
from tests.support.api_client import Client, RecordedApi, serving
from tests.support.jade_views import TICKING
from tests.support.ledger import Ledger, open_ledger
from tests.support.recorded_events import snapshotted
from tests.support.stream_client import ResourceMirror, StreamMessage, decode_message, open_stream

EVENTS = 6_000
INITIAL = 3_000
"""The number of events in the log at first."""


class Scene:
    """An API over the beginning of a recording, without a projector; `grow` appends more of it."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self.client = client
        self.ledger = ledger
        self._rest = list(snapshotted("rich22")[INITIAL:EVENTS])
        self._done = 0

    async def grow(self, number: int) -> int:
        """Append the next events; return the last position."""
        events = self._rest[self._done : self._done + number]
        position = await append_events(self.ledger.connection, "pbx", 2, self._done + 1, events)
        self._done += len(events)
        return position

    async def all(self, last: str | int = 0) -> list[StreamMessage]:
        """Return all messages up to the end of the log, from its beginning or after an id."""
        head = await head_position(self.ledger.connection)
        async with open_stream(self.client, last=last) as stream:
            return [message async for message in stream.upto(head)]


@pytest.fixture
async def scene(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.02)
    connection = await connect(url)
    for start in range(0, INITIAL, 500):
        events = snapshotted("rich22")[start : start + 500][: INITIAL - start]
        await append_events(connection, "pbx", 1, start + 1, events)
    await connection.close()
    await two_pbx_log.project(url, every=211)
    ledger = await open_ledger(url)
    async with serving(ledger, tmp_path) as client:
        yield Scene(client, ledger)
    await ledger.close()


@pytest.mark.parametrize("source", ["in memory", "in the log"])
async def test_a_resumed_stream_sends_exactly_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(live_buffer, "START_EVENTS", 10_000 if source == "in memory" else 0)
    monkeypatch.setattr(client_stream, "STEP_EVENTS", 37)
    monkeypatch.setattr(live_buffer, "BATCH_MESSAGES", 5)
    whole = await scene.all()
    assert len({message.id for message in whole}) == len(whole) > 1000
    positions = [message.position for message in whole]
    assert positions == sorted(positions)
    several = [n for n, message in enumerate(whole) if "." in message.id]
    assert len(several) > 20
    dice = random.Random(5)
    cuts = {*dice.sample(several, 12), *dice.sample(range(len(whole)), 12), len(whole) - 1}
    for cut in sorted(cuts):
        assert await scene.all(whole[cut].id) == whole[cut + 1 :], whole[cut]
    # A position between two messages works like an id.
    for position in dice.sample(range(INITIAL), 6):
        assert await scene.all(position) == [message for message in whole if message.position > position]


async def test_concurrent_streams_get_the_same_messages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_buffer, "START_EVENTS", 300)
    monkeypatch.setattr(client_stream, "STEP_EVENTS", 100)
    monkeypatch.setattr(hub, "MAX_CATCHING_UP", 100)
    dice = random.Random(11)
    before = await scene.all()
    end = asyncio.get_running_loop().create_future()

    async def receive(last: str | int) -> tuple[str | int, list[StreamMessage]]:
        messages: list[StreamMessage] = []
        async with open_stream(scene.client, last=last) as stream:
            while not end.done() or not stream.has_reached(end.result()):
                if (message := await stream.next()) is not None:
                    messages.append(message)
                assert not stream.over, stream.error
        return last, messages

    readers = []
    for _ in range(30):
        last = await scene.grow(dice.randint(1, 150))
        starts: list[str | int] = [0, last, dice.choice(before).id, dice.randrange(INITIAL)]
        readers.append(asyncio.create_task(receive(dice.choice(starts))))
        if len(readers) > 4 and dice.random() < 0.3:
            readers.pop(dice.randrange(len(readers))).cancel()
        await asyncio.sleep(0)
    end.set_result(await scene.grow(1))
    results = await asyncio.wait_for(asyncio.gather(*readers), 300)
    whole = await scene.all()
    assert len(whole) > len(before) + 700
    ids = {message.id: number for number, message in enumerate(whole)}
    assert len(results) >= 15
    for start, messages in results:
        rest = whole[ids[start] + 1 :] if start in ids else [m for m in whole if m.position > int(start)]
        assert messages == rest, start


async def test_streamed_resources_equal_the_served_ones(recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    head = await head_position(recorded.ledger.connection)
    dice = random.Random(8)
    instants = iter(sorted(dice.sample(range(1000, head), 12)))
    instant, mirror, count = next(instants), ResourceMirror(), 0
    async with open_stream(recorded.client, last=0) as stream:
        async for message in stream.upto(head):
            while message.position > instant:
                count += await compare(recorded.client, mirror, dice.sample(sorted(LISTS), 3), instant)
                instant = next(instants, head)
            mirror.take(message)
    count += await compare(recorded.client, mirror, sorted(LISTS))
    assert set(mirror.resources) >= set(LISTS)
    assert count > 300


LISTS = {
    "agent.agent": ("jade.agents.list", "id"),
    "core.channel": ("jade.core.channels.list", ""),
    "core.module": ("jade.core.modules.list", ""),
    "core.system": ("jade.core.systems.list", ""),
    "device.state": ("jade.device_states.list", "device"),
    "park.parkedcall": ("jade.park.parkedcalls.list", ""),
    "park.parkinglot": ("jade.park.parkinglots.list", ""),
    "pjsip.aor": ("jade.pjsip.aors.list", ""),
    "pjsip.auth": ("jade.pjsip.auths.list", ""),
    "pjsip.contact": ("jade.pjsip.contacts.list", ""),
    "pjsip.endpoint": ("jade.pjsip.endpoints.list", ""),
    "pjsip.registration_outbound": ("jade.pjsip.registration_outbounds.list", ""),
    "queue.entry": ("jade.queue.entries.list", ""),
    "queue.member": ("jade.queue.members.list", ""),
    "queue.queue": ("jade.queue.queues.list", ""),
    "sip.peer": ("jade.peers.list", "peer"),
    "sip.registry": ("jade.registries.list", "account"),
}
"""The list of each kind. If it has names only, the member that selects the details."""
JOINED = {
    "queue.entry": {"channel", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num"},
    "pjsip.endpoint": {"active_channels"},
    "agent.agent": {
        *("channel_name", "channel_state", "channel_state_desc", "caller_id_name", "caller_id_num", "tm_update"),
        *("connected_line_name", "connected_line_num", "context", "exten", "priority", "account_code", "language"),
        "linked_id",
    },
}
"""Members that a view joins from other rows. A change of these rows sends no message."""


async def compare(client: Client, mirror: ResourceMirror, kinds: list[str], instant: int | None = None) -> int:
    """Compare the streamed resources with the served ones, now or as of an instant; return their number.

    As of an instant only one detail of each kind is compared, because each is a fold of its own.
    """
    query = {"as_of": str(instant)} if instant else {}
    number = 0
    for kind in kinds:
        operation, member = LISTS[kind]
        path = operations()[operation].paths[0]
        reply = await client.get(path, params=query)
        assert reply.status == 200, await reply.text()
        served = (await reply.json())["result"]["list"]
        streamed = mirror.of(kind)
        if member:
            assert sorted((i["pbx"], i[member]) for i in streamed) == sorted((i["pbx"], i[member]) for i in served)
            served = [await detail(client, path, member, item, query) for item in served[: 1 if instant else None]]
            keys = {(item["pbx"], item[member]) for item in served}
            streamed = [item for item in streamed if (item["pbx"], item[member]) in keys]
        ignored = JOINED.get(kind, set()) | TICKING
        assert comparable(streamed, ignored) == comparable(served, ignored), (kind, instant)
        number += len(served)
    return number


async def detail(client: Client, path: str, member: str, item: dict[str, Any], query: dict[str, str]) -> Any:
    params = {**query, "pbx": item["pbx"]}
    reply = await client.request("GET", path + "/", params=params, json={member: item[member]})
    return (await reply.json())["result"]


def comparable(items: list[dict[str, Any]], ignored: set[str]) -> list[Any]:
    reduced = [{name: value for name, value in item.items() if name not in ignored} for item in items]
    return sorted(json.dumps(item, sort_keys=True) for item in reduced)


async def test_a_slow_reader_delays_no_other_client(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_buffer, "MAX_MESSAGES", 200)
    monkeypatch.setattr(live_buffer, "BATCH_MESSAGES", 20)
    client = scene.client
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1 << 14)
    bearer = client.session.headers["Authorization"]
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    async with open_stream(client) as other, client.ws_connect("/v1/ws", params={"topic": "/"}) as socket:
        messages: list[StreamMessage] = []
        for _ in range(60):  # 15 MB: more than sockets hold
            position = await append_events(
                scene.ledger.connection,
                "big",
                3,
                len(messages) + 1,
                [large(len(messages) + n) for n in range(20)],
            )
            messages += [message async for message in other.upto(position)]
            for _ in range(20):
                assert decode_message((await socket.receive(timeout=300)).data).position <= position
    assert len(messages) == 1200
    text = await asyncio.wait_for(reader.read(1 << 26), 300)
    while not text.endswith(b"0\r\n\r\n"):
        text += await asyncio.wait_for(reader.read(1 << 26), 300)
    writer.close()
    assert b'event: error\ndata: {"error":"read too slowly; continue with the last id","code":"slow"}\n\n' in text
    assert 0 < text.count(b"core.channel.create") < 1200


def large(number: int) -> NewEvent:
    raw = f"Event: Newchannel\r\nUniqueid: 9.{number}\r\nChannel: PJSIP/1-{number}\r\nExten: {'x' * 12_000}\r\n\r\n"
    return NewEvent("ami", "Newchannel", 1.0, 1795308983.5, raw.encode())


async def test_a_stream_continues_after_an_outage_of_postgresql(scene: Scene, postgresql_url: str) -> None:
    other = await asyncpg.connect(postgresql_url)
    name = await scene.ledger.connection.fetchval("SELECT current_database()")
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        " AND (application_name = 'ringledger events' OR query LIKE '%ledger.head h LEFT JOIN%')"
    )
    begin = await head_position(scene.ledger.connection)
    async with open_stream(scene.client) as near, open_stream(scene.client, last=0) as far:
        from_start = await far.take(5)
        middle = await scene.grow(500)
        from_middle = await near.take(3)
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await other.fetch(terminate, name)
        head = await scene.grow(500)
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        from_middle += [message async for message in near.upto(head)]
        from_start += [message async for message in far.upto(head)]
    await other.close()
    whole = await scene.all()
    assert from_start == whole
    assert from_middle == [message for message in whole if message.position > begin]
    assert middle < head
