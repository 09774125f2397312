"""The playback PBX: its events are the recording, moved to now; its lists equal those of the recorded Asterisk."""

import asyncio
import contextlib
import hashlib
import re
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from projections import ALL
from schemas.settings import Pbx
from services.asterisk.ami.framing import Framer
from services.database.connection import connect
from services.listener.ami import Listener
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.playback import server
from services.playback.blocks import Headers, list_items, parse_block
from services.playback.contacts import update_answer
from services.playback.player import Player
from services.playback.recording import Recording, load, request
from services.playback.shift import Shift
from services.playback.state import PlaybackState
from services.projector.projector import Projector

UNIQUE_ID = re.compile(rb"(?i)(?:unique|linked)id: (\d{10}\.\d+)\r\n")


@pytest.fixture(scope="module")
def recording() -> Recording:
    return load()


@contextlib.asynccontextmanager
async def playing(speed: float) -> AsyncIterator[int]:
    """Run a playback PBX and yield its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    task = asyncio.create_task(server.play(listening, speed, stop))
    try:
        yield listening.getsockname()[1]
    finally:
        stop.set()
        async with asyncio.timeout(300):
            await task


class Client:
    """An AMI client that collects all blocks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.blocks: list[Headers] = []

    @classmethod
    async def connect(cls, port: int) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        assert await client.reader.readline() == b"Asterisk Call Manager/11.0.0\r\n"
        return client

    async def read(self) -> Headers:
        async with asyncio.timeout(300):
            block = parse_block((await self.reader.readuntil(b"\r\n\r\n")).lstrip())
        self.blocks.append(block)
        return block

    async def request(self, action: str, **more: str) -> list[Headers]:
        """Send an action and return its reply with list items; live events may come between."""
        lines = {"Action": action, "ActionID": "mine", **more}
        self.writer.write("".join(f"{n}: {v}\r\n" for n, v in lines.items()).encode() + b"\r\n")
        answer: list[Headers] = []
        while not answer or (answer[0].get("EventList") == "start" and answer[-1].get("EventList") != "Complete"):
            block = await self.read()
            if block.get("ActionID") == "mine":
                answer.append(block)
        return answer

    async def login(self) -> None:
        assert (await self.request("Login", Username=server.USER, Secret=server.SECRET))[0]["Response"] == "Success"

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_client_receives_events_of_the_present() -> None:
    began = time.time()
    async with playing(speed=20) as port:
        client = await Client.connect(port)
        assert (await client.request("Ping"))[0] == {
            "Response": "Error",
            "ActionID": "mine",
            "Message": "Permission denied",
        }
        await client.login()
        assert (await client.read())["Event"] == "FullyBooted"
        assert (await client.request("Ping"))[0]["Ping"] == "Pong"
        answer = await client.request("QueueStatus", Queue="sales")
        assert {item["Queue"] for item in answer[1:-1]} == {"sales"}
        assert answer[-1]["ListItems"] == str(len(answer) - 2)
        while client.blocks[-1].get("Event") != "Hangup":
            await client.read()
        for block in client.blocks:
            assert began - 5 < float(block.get("Timestamp", began)) < time.time() + 5, block
        assert (await client.request("Logoff"))[0]["Message"] == "Thanks for all the fish."
        assert await client.reader.read() == b""
        await client.close()


async def test_a_client_logs_in_with_a_challenge() -> None:
    async with playing(speed=1) as port:
        client = await Client.connect(port)
        assert (await client.request("Challenge"))[0]["Message"] == "Must specify AuthType"
        challenge = (await client.request("Challenge", AuthType="MD5"))[0]["Challenge"]
        key = hashlib.md5((challenge + server.SECRET).encode()).hexdigest()
        reply = (await client.request("Login", Username=server.USER, AuthType="MD5", Key=key))[0]
        assert reply["Message"] == "Authentication accepted"
        await client.close()


@pytest.mark.parametrize(
    "proof",
    [{"Secret": "wrong"}, {}, {"AuthType": "MD5", "Key": hashlib.md5(server.SECRET.encode()).hexdigest()}],
)
async def test_a_wrong_login_fails_as_in_asterisk(proof: dict[str, str]) -> None:
    async with playing(speed=1) as port:
        client = await Client.connect(port)
        assert (await client.request("Login", Username=server.USER, **proof))[0] == {
            "Response": "Error",
            "ActionID": "mine",
            "Message": "Authentication failed",
        }
        assert await client.reader.read() == b""
        await client.close()


async def test_unanswerable_actions_get_asterisks_errors(recording: Recording) -> None:
    async with playing(speed=1) as port:
        client = await Client.connect(port)
        await client.login()
        bogus = recording.answers[request({"Action": "Bogus"})][0]
        assert (await client.request("Bogus"))[0]["Message"] == parse_block(bogus.blocks[0])["Message"]
        assert (await client.request("Nonsense"))[0]["Message"].startswith(
            "Invalid/unknown command: Nonsense. Use Action"
        )
        assert (await client.request("Hangup", Channel="PJSIP/100"))[0]["Message"] == "Permission denied"
        assert (await client.request("GetConfig", Filename="pjsip.conf"))[0]["Message"] == "Config file not found"
        assert (await client.request("PJSIPShowContacts"))[0]["Message"].startswith("No Contacts found")
        await client.close()


async def test_a_client_receives_only_its_event_classes() -> None:
    async with playing(speed=100) as port:
        client = await Client.connect(port)
        await client.request("Login", Username=server.USER, Secret=server.SECRET, Events="agent,cdr")
        while client.blocks[-1].get("Event") != "Cdr":
            await client.read()
        assert {b["Privilege"] for b in client.blocks if "Event" in b} <= {"agent,all", "cdr,all"}
        await client.close()


def test_every_computed_list_equals_asterisks_answer(recording: Recording) -> None:
    compared = 0
    for action in ("CoreShowChannels", "QueueStatus", "Agents", "ParkedCalls", "DeviceStateList"):
        state, live_count = PlaybackState(recording), 0
        for answer in recording.answers[request({"Action": action})]:
            for event in recording.live[live_count : answer.live_before]:
                state.apply(event)
            live_count = answer.live_before
            items = state.items(action.lower(), answer.at, answer)
            assert items is not None
            assert sorted(map(comparable, items)) == sorted(map(comparable, list_items(answer))), (action, answer.at)
            compared += len(items)
    assert compared == 727


def test_the_pjsip_lists_follow_the_phones(recording: Recording) -> None:
    state, compared = PlaybackState(recording), 0
    endpoints = recording.answers[request({"Action": "PJSIPShowEndpoints"})]
    registered: set[int] = set()
    for number, event in enumerate(recording.live):
        for answer in endpoints:
            if answer.live_before == number:
                blocks = update_answer("pjsipshowendpoints", endpoints[0].blocks, state, answer.at)
                for block, recorded in zip(map(parse_block, blocks), map(parse_block, answer.blocks), strict=True):
                    # The contact was removed in the same millisecond; its event comes after the list.
                    leaving = {"Contacts"} if block.get("ObjectName") == "118" else set()
                    assert {n: v for n, v in block.items() if n not in leaving | {"ActionID"}} == {
                        n: v for n, v in recorded.items() if n not in leaving | {"ActionID"}
                    }
                compared += 1
        state.apply(event)
        registered.add(len(state.contacts))
    assert compared == 2
    assert max(registered) >= 19
    assert not state.contacts


def test_a_registered_phone_is_in_every_pjsip_answer(recording: Recording) -> None:
    state = PlaybackState(recording)
    for event in recording.live[:2000]:
        state.apply(event)

    def ask(**action: str) -> list[Headers]:
        answer = recording.answers[request(action)][0]
        blocks = update_answer(action["Action"].lower(), answer.blocks, state, recording.start)
        return [parse_block(block) for block in blocks]

    contacts = ask(Action="PJSIPShowContacts")
    assert len(contacts) == int(contacts[-1]["ListItems"]) + 2 == len(state.contacts) + 2
    detail = ask(Action="PJSIPShowEndpoint", Endpoint="105")
    assert [block["Event"] for block in detail[1:]] == [
        *("EndpointDetail", "AuthDetail", "TransportDetail", "AorDetail", "ContactStatusDetail"),
        "EndpointDetailComplete",
    ]
    assert detail[-1]["ListItems"] == "5"
    assert detail[4]["Contacts"] == "105/sip:105@127.0.0.10:6210"
    assert detail[5]["Status"] == "Reachable"
    assert "Output" in ask(Action="Command", Command="module show")[0]


def comparable(item: Headers) -> list[tuple[str, str]]:
    """Return the headers of an item that events have: no entry's priority, no application started without Newexten."""
    hidden = {"Priority"} if item["Event"] == "QueueEntry" else set()
    if item.get("ApplicationData") in {"(Outgoing Line)", "lab,dialed", "default"}:
        hidden = {"Application", "ApplicationData"}
    # The second may change between Asterisk's reading of the clock and the recorder's.
    return sorted((name, value) for name, value in item.items() if name not in hidden | {"Wait"})


def test_moved_blocks_keep_everything_but_times(recording: Recording) -> None:
    shift = Shift(recording.start, recording.start + 86_400_000_000 * 365)
    moved = b"".join(shift.block(event.block) for event in recording.live)
    framed = list(Framer().feed(moved))
    assert len(framed) == len(recording.live) == 37097
    digits = re.compile(rb"\d+")
    assert all(digits.sub(b"", a) == digits.sub(b"", b.block) for a, b in zip(framed, recording.live, strict=True))
    assert not re.search(rb"(?<![\w.])179530[89]\d{3}|2026-11-22", moved)


def test_a_move_back_gives_the_recording(recording: Recording) -> None:
    there = Shift(recording.start, recording.start + 5_000_000)
    back = Shift(recording.start, recording.start - 5_000_000)
    assert all(back.block(there.block(event.block)) == event.block for event in recording.live)


@pytest.mark.parametrize("speed", [1.0, 1000.0])
def test_two_loops_never_make_the_same_id(recording: Recording, speed: float) -> None:
    def ids(now: int) -> set[bytes]:
        shift = Shift(recording.start, now, speed)
        return {unique_id for event in recording.live for unique_id in UNIQUE_ID.findall(shift.block(event.block))}

    now = 1_800_000_000_123_456
    first, second = ids(now), ids(now + 1_000_000)
    assert len(first) == len(second) == len(ids(recording.start)) > 700
    assert first.isdisjoint(second)


async def test_a_loop_ends_open_calls_and_logins(recording: Recording) -> None:
    blocks: list[Headers] = []
    again = asyncio.Event()

    def collect(block: bytes) -> None:
        if not again.is_set():
            blocks.append(parse_block(block.lstrip()))
        if player.loops:
            again.set()

    player = Player(recording, speed=1000)
    player.subscribers.add(collect)
    stop = asyncio.Event()
    task = asyncio.create_task(player.run(stop))
    async with asyncio.timeout(300):
        await again.wait()
    stop.set()
    await task

    def values(name: str, header: str) -> set[str]:
        return {block[header] for block in blocks if block["Event"] == name}

    assert blocks[-1]["Event"] == "Reload"
    assert values("Newchannel", "Uniqueid") == values("Hangup", "Uniqueid")
    assert values("QueueCallerJoin", "Uniqueid") == values("QueueCallerLeave", "Uniqueid")
    ends = values("UnParkedCall", "ParkeeUniqueid") | values("ParkedCallGiveUp", "ParkeeUniqueid")
    assert values("ParkedCall", "ParkeeUniqueid") == ends | values("ParkedCallTimeOut", "ParkeeUniqueid")
    logins = [block["Agent"] for block in blocks if block["Event"] == "AgentLogin"]
    assert sorted(logins) == sorted(block["Agent"] for block in blocks if block["Event"] == "AgentLogoff")


async def test_the_listener_folds_the_playback(url: str, spools: Spools) -> None:
    async with playing(speed=100) as port:
        pbx = Pbx("recording", "127.0.0.1", port, server.USER, server.SECRET)
        listener = Listener(pbx, partial(Ingest, url, "recording", spools))
        ingest = listener.ingest
        stop = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(ingest.run()), asyncio.create_task(listener.run(stop))]
        connection = await connect(url, search_path="model, ledger")
        projector = Projector(connection, ALL)
        await projector.open()
        completed = "SELECT count(*) FROM event WHERE name IN ('SnapshotCompleted', 'Hangup')"
        async with asyncio.timeout(300):
            while await connection.fetchval(completed) < 300:
                await projector.advance()
        stop.set()
        await tasks[1]
        ingest.stop()
        await tasks[0]
        while await projector.advance():
            pass
        assert projector.stopped == {}
        assert await connection.fetchval("SELECT count(*) FROM unfit") == 0
        outcomes = await connection.fetch("SELECT raw FROM event WHERE name = 'SnapshotListed'")
        assert outcomes
        assert not [row["raw"] for row in outcomes if b'"outcome":"failed"' in row["raw"]]
        begins, ends = "name IN ('Newchannel', 'CoreShowChannel')", "name = 'Hangup'"
        ids = []
        for which in (begins, ends):
            rows = await connection.fetch(f"SELECT raw FROM event WHERE {which}")
            ids.append({UNIQUE_ID.findall(row["raw"])[0] for row in rows})
        channels = await connection.fetch("SELECT unique_id FROM channels")
        assert {row["unique_id"].encode() for row in channels} == ids[0] - ids[1]
        await connection.close()
