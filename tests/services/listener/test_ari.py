"""The ARI link against a websocket server of aiohttp."""

import asyncio
import re
import time
from pathlib import Path

import asyncpg
import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

import services.listener.ari
from schemas.log import NewEvent
from schemas.settings import Pbx, Settings
from services.database.connection import connect
from services.listener.ari import AriListener, occurred
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.process import listen
from services.runtime.masking.json import mask_json
from tests.support.fake_ari import ARI_EVENT, ARI_SECRET, fake_ari, send_and_stay
from tests.support.polling import eventually


async def send_and_close(socket: web.WebSocketResponse) -> None:
    await socket.send_str(ARI_EVENT)


async def receive(listener: AriListener, ingest: Ingest, names: list[str]) -> list[NewEvent]:
    """Run the listener until it has put events of these names; return all its events."""
    stop = asyncio.Event()
    events: list[NewEvent] = []

    def put(event: NewEvent) -> None:
        events.append(event)
        if [e.name for e in events[: len(names)]] == names:
            stop.set()

    ingest.put = put
    async with asyncio.timeout(300):
        await listener.run(stop)
    return events


async def test_messages_are_logged_unchanged_over_several_links(url: str, spools: Spools) -> None:
    async with fake_ari(send_and_close, send_and_stay) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        began = time.time()
        twice = ["AriConnected", "ChannelCreated", "AriDisconnected"] * 2
        events = await receive(AriListener(pbx, ingest), ingest, twice[:5])
    assert [event.name for event in events] == twice
    assert [event.source for event in events[:3]] == ["ringledger", "ari", "ringledger"]
    assert events[1].raw == ARI_EVENT.encode()
    assert events[1].occurred == 1795308983.349
    assert began <= events[1].recorded <= time.time()


async def test_malformed_ari_messages_are_counted(url: str, spools: Spools) -> None:
    async def send_nonsense(socket: web.WebSocketResponse) -> None:
        for text in ("", "no json", "[1]", '{"type": 7}', "{}", '{"type": "X", "a": ' + "[" * 10_000):
            await socket.send_str(text)
        await socket.send_bytes(b"\0")
        await send_and_stay(socket)

    async with fake_ari(send_nonsense) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        listener = AriListener(pbx, ingest)
        await receive(listener, ingest, ["AriConnected", "ChannelCreated"])
    assert listener.rejected == 7


async def test_rejected_messages_do_not_fill_the_logs(url: str, spools: Spools) -> None:
    async def send_nonsense(socket: web.WebSocketResponse) -> None:
        for _ in range(1000):
            await socket.send_str("no json")
        await send_and_stay(socket)

    async with fake_ari(send_nonsense) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        with capture_logs() as logs:
            await receive(AriListener(pbx, ingest), ingest, ["AriConnected", "ChannelCreated"])
    assert [entry["rejected"] for entry in logs if entry["event"] == "ari_message_rejected"] == [
        2**n for n in range(10)
    ]


async def test_a_failure_logs_the_end_of_the_link(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    async with fake_ari(send_and_stay) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        listener = AriListener(pbx, ingest)
        monkeypatch.setattr(listener, "_deliver", fail)
        with pytest.raises(RuntimeError, match="unforeseen"):
            await listener.run(asyncio.Event())
    assert [event.name for event in ingest.backlog.memory.events] == ["AriConnected", "AriDisconnected"]
    assert (b"unforeseen" in ingest.backlog.memory.events[1].raw, listener.link_up) == (True, False)


async def test_an_endless_message_ends_the_link(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.listener.ari, "MAX_MESSAGE_BYTES", 4096)

    async def endless(socket: web.WebSocketResponse) -> None:
        await socket.send_str("x" * 10_000)
        await socket.receive()

    async with fake_ari(endless, send_and_stay) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        names = ["AriConnected", "AriDisconnected", "AriConnected", "ChannelCreated"]
        events = await receive(AriListener(pbx, ingest), ingest, names)
    assert b"4096" in events[1].raw or b"1009" in events[1].raw, events[1].raw


async def test_a_link_without_pong_is_lost(url: str, monkeypatch: pytest.MonkeyPatch, spools: Spools) -> None:
    monkeypatch.setattr(services.listener.ari, "HEARTBEAT_SECONDS", 0.2)
    is_over = asyncio.Event()

    async def silent(_: web.WebSocketResponse) -> None:
        await is_over.wait()  # reads nothing, so no ping gets a pong

    async with fake_ari(silent, send_and_stay) as pbx:
        ingest = Ingest(url, pbx.name, spools)
        names = ["AriConnected", "AriDisconnected", "AriConnected"]
        events = await receive(AriListener(pbx, ingest), ingest, names)
        is_over.set()
    assert [event.name for event in events[:3]] == names


async def test_a_refusal_is_logged_without_the_secret(url: str, spools: Spools) -> None:
    stop = asyncio.Event()
    async with fake_ari() as pbx:
        wrong = Pbx(pbx.name, pbx.host, pbx.port, "user", "not-" + ARI_SECRET)
        with capture_logs() as logs:
            running = asyncio.create_task(AriListener(wrong, Ingest(url, "pbx", spools)).run(stop))
            await eventually(lambda: logs)
            stop.set()
            await running
    assert logs[0]["event"] == "ari_connect_failed"
    assert logs[0]["error"] == "HTTP 401"
    assert logs[0]["again_in"] == services.listener.ari.REFUSED_RETRY_SECONDS
    assert ARI_SECRET not in str(logs)


async def test_a_listener_without_asterisk_stops_at_once(url: str, spools: Spools) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(
        AriListener(Pbx("pbx", "127.0.0.1", 1, "u", "s"), Ingest(url, "pbx", spools)).run(stop)
    )
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 300)


async def test_the_log_has_the_events_of_ari(url: str, tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with fake_ari(send_and_stay) as pbx:
        running = asyncio.create_task(listen(Settings(ari=(pbx,), data=tmp_path), url, stop))
        connection = await connect(url)
        await eventually(lambda: connection.fetchval("SELECT count(*) FROM ledger.event WHERE source = 'ari'"))
        stop.set()
        await asyncio.wait_for(running, 300)
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT pbx, source, name, raw FROM ledger.event ORDER BY position"
    )
    await connection.close()
    assert [(row["pbx"], row["source"], row["name"]) for row in rows] == [
        ("pbx", "ringledger", "AriConnected"),
        ("pbx", "ari", "ChannelCreated"),
        ("pbx", "ringledger", "AriDisconnected"),
    ]
    assert rows[1]["raw"] == ARI_EVENT.encode()


def test_secrets_are_masked_in_place() -> None:
    raw = rb'{"type":"X","password":"a\"b","md5_cred" : "x","n":{"auth_token":"t","key":"k","keys":"ok"},"password":5}'
    assert mask_json(raw) == (
        rb'{"type":"X","password":"********","md5_cred" : "********",'
        rb'"n":{"auth_token":"********","key":"********","keys":"ok"},"password":5}'
    )
    assert mask_json(ARI_EVENT.encode()) == ARI_EVENT.encode()
    assert msgspec.json.decode(mask_json(raw))["n"]["keys"] == "ok"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22", "0001-01-01T00:00:00+0000", "2026-11-22T00:56:23.349"])
def test_a_malformed_time_is_none(text: str) -> None:
    assert occurred(text) is None


def test_the_repr_of_a_pbx_hides_the_secret() -> None:
    assert not re.search(ARI_SECRET, repr(Settings(ari=(Pbx("pbx", "host", 1, "user", ARI_SECRET),))))


async def test_a_stop_does_not_wait_for_a_response(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.listener.ari, "CONNECT_TIMEOUT_SECONDS", 3600)
    has_read = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        has_read.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stop = asyncio.Event()
        listener = AriListener(Pbx("pbx", "127.0.0.1", port, "user", ARI_SECRET), Ingest(url, "pbx", spools))
        running = asyncio.create_task(listener.run(stop))
        await has_read.wait()
        stop.set()
        async with asyncio.timeout(300):
            await running
