"""Streams that begin anywhere tell the same: nothing is missed and nothing told twice, whatever happens in between."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api.stream import client_stream as stream
from api.stream import hub as streams
from api.stream import live_buffer as live
from api.stream import sse
from schemas.log import NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.log.read import head_position
from tests.api.http.test_as_of import serving
from tests.api.jade.test_views import TICKING
from tests.contract import operations
from tests.support import two_pbx_log as heard
from tests.support.api_client import Client, RecordedApi
from tests.support.ledger import Ledger, open_ledger
from tests.support.recorded_events import snapshotted
from tests.support.stream_client import ResourceMirror, StreamMessage, decode_message, open_stream

EVENTS = 6_000
THEN = 3_000
"""So many are there at first."""


class Scene:
    """An API over the beginning of a recording; `goes` appends more of it. No projector runs, and none is needed."""

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self.client = client
        self.ledger = ledger
        self._rest = list(snapshotted("rich22")[THEN:EVENTS])
        self._done = 0

    async def goes(self, number: int) -> int:
        """Append so many events; return the last position."""
        said = self._rest[self._done : self._done + number]
        position = await append_events(self.ledger.connection, "pbx", 2, self._done + 1, said)
        self._done += len(said)
        return position

    async def all(self, last: str | int = 0) -> list[StreamMessage]:
        """Return all that is told up to the end of the log, from the beginning or from an id on."""
        head = await head_position(self.ledger.connection)
        async with open_stream(self.client, last=last) as stream:
            return [message async for message in stream.upto(head)]


@pytest.fixture
async def scene(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.02)
    connection = await connect(url)
    for start in range(0, THEN, 500):
        said = snapshotted("rich22")[start : start + 500][: THEN - start]
        await append_events(connection, "pbx", 1, start + 1, said)
    await connection.close()
    await heard.project(url, every=211)
    ledger = await open_ledger(url)
    async with serving(ledger, tmp_path) as client:
        yield Scene(client, ledger)
    await ledger.close()


@pytest.mark.parametrize("kept", ["in memory", "in the log"])
async def test_at_every_cut_exactly_the_rest_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    monkeypatch.setattr(live, "START_EVENTS", 10_000 if kept == "in memory" else 0)
    monkeypatch.setattr(stream, "STEP", 37)
    monkeypatch.setattr(live, "BATCH_MESSAGES", 5)
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
    # Positions between those of messages are as good.
    for position in dice.sample(range(THEN), 6):
        assert await scene.all(position) == [message for message in whole if message.position > position]


async def test_whoever_comes_while_the_log_grows_hears_the_same(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "START_EVENTS", 300)
    monkeypatch.setattr(stream, "STEP", 100)
    monkeypatch.setattr(streams, "MAX_CATCHING_UP", 100)
    dice = random.Random(11)
    before = await scene.all()
    end = asyncio.get_running_loop().create_future()

    async def hear(last: str | int) -> tuple[str | int, list[StreamMessage]]:
        found: list[StreamMessage] = []
        async with open_stream(scene.client, last=last) as one:
            while not end.done() or not one.has_reached(end.result()):
                if (message := await one.next()) is not None:
                    found.append(message)
                assert not one.over, one.error
        return last, found

    readers = []
    for _ in range(30):
        last = await scene.goes(dice.randint(1, 150))
        begins: list[str | int] = [0, last, dice.choice(before).id, dice.randrange(THEN)]
        readers.append(asyncio.create_task(hear(dice.choice(begins))))
        if len(readers) > 4 and dice.random() < 0.3:
            readers.pop(dice.randrange(len(readers))).cancel()
        await asyncio.sleep(0)
    end.set_result(await scene.goes(1))
    heard_by = await asyncio.wait_for(asyncio.gather(*readers), 300)
    whole = await scene.all()
    assert len(whole) > len(before) + 700
    ids = {message.id: number for number, message in enumerate(whole)}
    assert len(heard_by) >= 15
    for begun, found in heard_by:
        rest = whole[ids[begun] + 1 :] if begun in ids else [m for m in whole if m.position > int(begun)]
        assert found == rest, begun


async def test_the_resources_that_are_told_are_those_that_are_served(
    recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    head = await head_position(recorded.ledger.connection)
    dice = random.Random(8)
    instants = iter(sorted(dice.sample(range(1000, head), 12)))
    instant, kept, shown = next(instants), ResourceMirror(), 0
    async with open_stream(recorded.client, last=0) as one:
        async for message in one.upto(head):
            while message.position > instant:
                shown += await compared(recorded.client, kept, dice.sample(sorted(LISTS), 3), instant)
                instant = next(instants, head)
            kept.take(message)
    shown += await compared(recorded.client, kept, sorted(LISTS))
    assert set(kept.resources) >= set(LISTS)
    assert shown > 300


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
"""The list of each kind; where it tells names only, by which member the details are found."""
JOINED = {
    "queue.entry": {"channel", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num"},
    "pjsip.endpoint": {"active_channels"},
    "agent.agent": {
        *("channel_name", "channel_state", "channel_state_desc", "caller_id_name", "caller_id_num", "tm_update"),
        *("connected_line_name", "connected_line_num", "context", "exten", "priority", "account_code", "language"),
        "linked_id",
    },
}
"""What is looked up when somebody asks, and of which changes no message tells."""


async def compared(client: Client, kept: ResourceMirror, kinds: list[str], instant: int | None = None) -> int:
    """Hold what was told against what is served, now or as of an instant; return how many resources there were.

    Each detail as of an instant is folded for itself, so then it is one of each kind.
    """
    query = {"as_of": str(instant)} if instant else {}
    number = 0
    for kind in kinds:
        operation, found_by = LISTS[kind]
        path = operations()[operation].paths[0]
        reply = await client.get(path, params=query)
        assert reply.status == 200, await reply.text()
        served = (await reply.json())["result"]["list"]
        told = kept.of(kind)
        if found_by:
            assert sorted((i["pbx"], i[found_by]) for i in told) == sorted((i["pbx"], i[found_by]) for i in served)
            served = [await detail(client, path, found_by, item, query) for item in served[: 1 if instant else None]]
            asked = {(item["pbx"], item[found_by]) for item in served}
            told = [item for item in told if (item["pbx"], item[found_by]) in asked]
        left_out = JOINED.get(kind, set()) | TICKING
        assert plain(told, left_out) == plain(served, left_out), (kind, instant)
        number += len(served)
    return number


async def detail(client: Client, path: str, found_by: str, item: dict[str, Any], query: dict[str, str]) -> Any:
    params = {**query, "pbx": item["pbx"]}
    reply = await client.request("GET", path + "/", params=params, json={found_by: item[found_by]})
    return (await reply.json())["result"]


def plain(items: list[dict[str, Any]], left_out: set[str]) -> list[Any]:
    shown = [{name: value for name, value in item.items() if name not in left_out} for item in items]
    return sorted(json.dumps(item, sort_keys=True) for item in shown)


async def test_who_reads_too_slowly_is_cut_off_and_nobody_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_MESSAGES", 200)
    monkeypatch.setattr(live, "BATCH_MESSAGES", 20)
    client = scene.client
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1 << 14)
    bearer = client.session.headers["Authorization"]
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    async with open_stream(client) as other, client.ws_connect("/v1/ws", params={"topic": "/"}) as socket:
        heard_by_other: list[StreamMessage] = []
        for _ in range(60):  # 15 MB: more than sockets hold
            position = await append_events(
                scene.ledger.connection,
                "big",
                3,
                len(heard_by_other) + 1,
                [large(len(heard_by_other) + n) for n in range(20)],
            )
            heard_by_other += [message async for message in other.upto(position)]
            for _ in range(20):
                assert decode_message((await socket.receive(timeout=300)).data).position <= position
    assert len(heard_by_other) == 1200
    text = await asyncio.wait_for(reader.read(1 << 26), 300)
    while not text.endswith(b"0\r\n\r\n"):
        text += await asyncio.wait_for(reader.read(1 << 26), 300)
    writer.close()
    assert b'event: error\ndata: {"error":"read too slowly; go on with the last id","code":"slow"}\n\n' in text
    assert 0 < text.count(b"core.channel.create") < 1200


def large(number: int) -> NewEvent:
    raw = f"Event: Newchannel\r\nUniqueid: 9.{number}\r\nChannel: PJSIP/1-{number}\r\nExten: {'x' * 12_000}\r\n\r\n"
    return NewEvent("ami", "Newchannel", 1.0, 1795308983.5, raw.encode())


async def test_while_postgresql_is_away_a_stream_waits_and_then_goes_on(scene: Scene, postgresql_url: str) -> None:
    other = await asyncpg.connect(postgresql_url)
    name = await scene.ledger.connection.fetchval("SELECT current_database()")
    away = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        " AND (application_name = 'ringledger events' OR query LIKE '%ledger.head h LEFT JOIN%')"
    )
    begin = await head_position(scene.ledger.connection)
    async with open_stream(scene.client) as one, open_stream(scene.client, last=0) as far:
        found = await far.take(5)
        middle = await scene.goes(500)
        first = await one.take(3)
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await other.fetch(away, name)
        head = await scene.goes(500)
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        first += [message async for message in one.upto(head)]
        found += [message async for message in far.upto(head)]
    await other.close()
    whole = await scene.all()
    assert found == whole
    assert first == [message for message in whole if message.position > begin]
    assert middle < head
