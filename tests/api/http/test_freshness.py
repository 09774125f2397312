"""ETag, 304, the long poll, and the headers with the freshness of a view."""

import asyncio
import itertools
import time
from typing import Any

import asyncpg
import pytest

from api.app_keys import CHECKPOINTS, FAILED, VIEWS
from schemas.log import Connected, Disconnected, Minute, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.projector.checkpoints import checkpoints
from services.projector.checkpoints.checkpoints import CheckpointReading
from tests.support.api_client import Client, RecordedApi, Serve, admin_token, serve_as_admin
from tests.support.channels_view import CHANNELS_VIEW, FULLY_BOOTED, get_at, items_of, newchannel, varset
from tests.support.ledger import Ledger

MODULES = "/v1/admin/core/modules"


async def test_a_tag_changes_only_with_the_rows(client: Client, ledger: Ledger) -> None:
    first = await get_at(client, await ledger.write(newchannel("1.1")))
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    quiet = await get_at(client, await ledger.write(FULLY_BOOTED))
    assert quiet.headers["ETag"] == tag
    assert int(quiet.headers["X-Ledger-Position"]) > int(first.headers["X-Ledger-Position"])
    moved = await get_at(client, await ledger.write(newchannel("1.2")))
    assert moved.headers["ETag"] != tag
    assert [i["unique_id"] for i in await items_of(moved)] == ["1.1", "1.2"]


@pytest.mark.parametrize("form", ["{}", '"x", {}', '{} , W/"y"', "*"])
async def test_a_current_tag_is_304(client: Client, ledger: Ledger, form: str) -> None:
    tag = (await get_at(client, await ledger.write(newchannel("1.1")))).headers["ETag"]
    reply = await client.get(CHANNELS_VIEW, headers={"If-None-Match": form.format(tag)})
    assert reply.status == 304
    assert await reply.read() == b""
    assert reply.headers["ETag"] == tag
    assert int(reply.headers["X-Ledger-Position"]) > 0
    assert (await client.get(CHANNELS_VIEW, headers={"If-None-Match": 'W/"0-1"'})).status == 200


async def test_two_processes_return_the_same_tag(serve: Serve, ledger: Ledger) -> None:
    one, two = await serve(), await serve()
    for client in (one, two):
        client.session.headers["Authorization"] = f"Bearer {await admin_token(one)}"
    position = await ledger.write(newchannel("1.1"))
    for path in (CHANNELS_VIEW, "/v1/admin/queue/entries", "/v1/admin/pjsip/endpoints"):
        tags = {(await get_at(client, position, path)).headers["ETag"] for client in (one, two)}
        assert len(tags) == 1


async def test_another_model_version_changes_the_tag(client: Client, ledger: Ledger) -> None:
    tag = (await get_at(client, await ledger.write(newchannel("1.1")))).headers["ETag"]
    await ledger.connection.execute("UPDATE checkpoint SET version = version + 1 WHERE model = 'channels'")
    await client.app[CHECKPOINTS].refresh()
    assert (await client.get(CHANNELS_VIEW)).headers["ETag"] != tag


async def test_a_long_poll_waits_for_changed_rows(client: Client, ledger: Ledger) -> None:
    tag = (await get_at(client, await ledger.write(newchannel("1.1")))).headers["ETag"]
    for headers in ({"If-None-Match": tag}, {}):
        waiting = asyncio.create_task(client.get(CHANNELS_VIEW, params={"wait": "60"}, headers=headers))
        await get_at(client, await ledger.write(FULLY_BOOTED), MODULES)
        assert not waiting.done()
        await ledger.write(newchannel(f"2.{len(headers)}"))
        reply = await asyncio.wait_for(waiting, 50)  # without a change it would take 60
        assert reply.status == 200
        assert f"2.{len(headers)}" in {i["unique_id"] for i in await items_of(reply)}
        tag = reply.headers["ETag"]


async def test_a_long_poll_with_another_tag_returns_immediately(client: Client, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    async with asyncio.timeout(50):
        reply = await client.get(CHANNELS_VIEW, params={"wait": "60"}, headers={"If-None-Match": 'W/"0-1"'})
    assert reply.status == 200


async def test_a_long_poll_accepts_a_newer_tag(client: Client, serve: Serve, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    other = await serve_as_admin(serve)
    old = client.app[CHECKPOINTS].reading
    tag = (await get_at(other, await ledger.write(newchannel("1.2")))).headers["ETag"]
    await client.app[CHECKPOINTS].refresh()
    client.app[CHECKPOINTS].newest = old
    assert (await client.get(CHANNELS_VIEW, params={"wait": "0.3"}, headers={"If-None-Match": tag})).status == 304


async def test_a_long_poll_without_change_ends(client: Client, ledger: Ledger) -> None:
    tag = (await get_at(client, await ledger.write(newchannel("1.1")))).headers["ETag"]
    began = time.monotonic()
    assert (await client.get(CHANNELS_VIEW, params={"wait": "0.2"}, headers={"If-None-Match": tag})).status == 304
    assert time.monotonic() - began >= 0.2
    assert (await client.get(CHANNELS_VIEW, params={"wait": "0.2"})).status == 200


@pytest.mark.parametrize("wait", ["x", "", "-1", "61", "nan", "inf", "1e9"])
async def test_an_invalid_wait_is_400(recorded: RecordedApi, wait: str) -> None:
    reply = await recorded.client.get(CHANNELS_VIEW, params={"wait": wait})
    assert reply.status == 400
    assert (await reply.json())["statuscode"] == 400


async def test_a_stop_ends_long_polls(client: Client, ledger: Ledger) -> None:
    tag = (await get_at(client, await ledger.write(newchannel("1.1")))).headers["ETag"]
    waiting = asyncio.create_task(client.get(CHANNELS_VIEW, params={"wait": "60"}, headers={"If-None-Match": tag}))
    await get_at(client, await ledger.write(FULLY_BOOTED), MODULES)
    client.app[CHECKPOINTS].stop()
    async with asyncio.timeout(50):
        assert (await waiting).status == 304


async def test_the_lag_grows_until_all_is_folded(client: Client, ledger: Ledger) -> None:
    began = time.time()
    reply = await get_at(client, await ledger.write(newchannel("1.1")))
    assert reply.headers["X-Ledger-Lag-Ms"] == "0"
    async with ledger.connection.transaction():
        await ledger.connection.execute("LOCK TABLE channels IN ACCESS EXCLUSIVE MODE")
        position = await ledger.write(newchannel("1.2"))
        async with asyncio.timeout(300):
            while True:
                behind = await client.get(MODULES)
                if int(behind.headers["X-Ledger-Lag-Ms"]) > 50:
                    break
        assert int(behind.headers["X-Ledger-Position"]) < position
        assert int(behind.headers["X-Ledger-Lag-Ms"]) <= (time.time() - began) * 1000
    assert (await get_at(client, position)).headers["X-Ledger-Lag-Ms"] == "0"


async def test_complete_reflects_the_links(client: Client, ledger: Ledger) -> None:
    async def is_complete(position: int, **query: str) -> str:
        await get_at(client, position, MODULES)
        return (await client.get(CHANNELS_VIEW, params=query)).headers["X-Ledger-Complete"]

    assert await is_complete(await ledger.write(FULLY_BOOTED)) == "false"
    assert await is_complete(await ledger.write(Connected("a:1"))) == "false"
    position = await ledger.write(
        SnapshotStarted(1), SnapshotListed(1, "CoreStatus", "complete"), SnapshotCompleted(1), Minute(60, "up", 1)
    )
    assert await is_complete(position) == "true"
    position = await ledger.write(Connected("b:1"), pbx="second")
    assert await is_complete(position) == "false"
    assert await is_complete(position, pbx="pbx") == "true"
    assert await is_complete(position, pbx="second") == "false"
    assert await is_complete(position, pbx="third") == "false"
    assert await is_complete(await ledger.write(Disconnected("cut", time.time())), pbx="pbx") == "false"


async def test_a_ticking_duration_changes_no_tag(client: Client, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    first = await client.get(CHANNELS_VIEW)
    (before,) = await items_of(first)
    async with asyncio.timeout(300):
        while True:
            reply = await client.get(CHANNELS_VIEW)
            (after,) = await items_of(reply)
            if after["duration"] > before["duration"] + 1:
                break
    assert after["tm_update"] == before["tm_update"]
    assert reply.headers["ETag"] == first.headers["ETag"]


async def test_concurrent_readers_send_one_query(client: Client, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    views = client.app[VIEWS]
    rendered = 0
    render = views._render

    async def count_and_render(*args: Any) -> Any:
        nonlocal rendered
        rendered += 1
        return await render(*args)

    views._render = count_and_render
    views._cache.clear()
    replies = await asyncio.gather(*(client.get(CHANNELS_VIEW) for _ in range(100)))
    assert {r.status for r in replies} == {200}
    assert rendered == 1


async def test_a_slow_view_is_rendered_once_per_request(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every result is too old once it is ready, as if each rendering took longer than a second."""
    await get_at(client, await ledger.write(newchannel("1.1")))
    monkeypatch.setattr("api.http.views.current.TICK_SECONDS", -1.0)
    views, has_begun, may_end, rendered = client.app[VIEWS], asyncio.Event(), asyncio.Event(), 0
    render = views._render

    async def render_slowly(*args: Any) -> Any:
        nonlocal rendered
        rendered += 1
        assert rendered < 10, "the view is rendered again and again"
        body = await render(*args)
        has_begun.set()
        await may_end.wait()
        return body

    views._render = render_slowly
    first = asyncio.create_task(client.get(CHANNELS_VIEW))
    async with asyncio.timeout(50):
        await has_begun.wait()
    late = [asyncio.create_task(client.get(CHANNELS_VIEW)) for _ in range(3)]
    await client.get("/healthz")
    may_end.set()
    assert {reply.status for reply in await asyncio.gather(first, *late)} == {200}
    assert rendered == 2, "one for the first request, and one that began after the other requests"
    assert (await client.get(CHANNELS_VIEW)).status == 200
    assert rendered == 3


async def test_body_and_position_agree_while_the_log_grows(client: Client, ledger: Ledger) -> None:
    start = await ledger.write(newchannel("1.1"))
    await get_at(client, start)

    samples: list[tuple[int, int]] = []

    async def grow() -> None:
        for n in itertools.count():
            await ledger.write(varset("1.1", "N", str(n)))
            if n >= 60 and len({n for _, n in samples}) > 3:
                return

    growing = asyncio.create_task(grow())
    while not growing.done():
        reply = await client.get(CHANNELS_VIEW)
        (item,) = await items_of(reply)
        samples.append((int(reply.headers["X-Ledger-Position"]), int(item["variables"].get("N", "-1"))))
    await growing
    # No other process writes to this log, so event start + 1 + n has set N to n.
    assert all(position == start + 1 + n for position, n in samples)
    assert len({n for _, n in samples}) > 3


async def test_a_position_never_has_older_rows(client: Client, ledger: Ledger) -> None:
    first = await ledger.write(newchannel("1.1"))
    await get_at(client, first, MODULES)
    views, checkpoints = client.app[VIEWS], client.app[CHECKPOINTS]
    render = views._render

    async def render_and_write(*args: Any) -> Any:
        body = await render(*args)
        await checkpoints.wait_folded(("channels",), await ledger.write(newchannel("1.2")))
        return body

    views._render = render_and_write
    reply = await client.get(CHANNELS_VIEW)
    assert [i["unique_id"] for i in await items_of(reply)] == ["1.1"]
    assert int(reply.headers["X-Ledger-Position"]) == first
    views._render = render
    reply = await client.get(CHANNELS_VIEW)
    assert [i["unique_id"] for i in await items_of(reply)] == ["1.1", "1.2"]


async def test_the_next_response_has_folded_events(client: Client, ledger: Ledger) -> None:
    for state in ("INUSE", "BUSY", "NOT_INUSE"):
        block = f"Event: DeviceStateChange\r\nDevice: PJSIP/1\r\nState: {state}\r\n\r\n".encode()
        await client.app[CHECKPOINTS].wait_folded(("device_states",), await ledger.write(block))
        reply = await client.request("GET", "/device_states/", json={"device": "PJSIP/1"})
        assert (await reply.json())["result"]["state"] == state


async def test_secrets_in_variables_are_masked(client: Client, ledger: Ledger) -> None:
    block = newchannel("1.1") + varset("1.1", "MYPASSWORD", "hush") + varset("1.1", "COLOUR", "blue ü")
    (item,) = await items_of(await get_at(client, await ledger.write(block)))
    assert item["variables"] == {"MYPASSWORD": "********", "COLOUR": "blue ü"}


async def test_a_detail_may_have_any_name(client: Client, ledger: Ledger) -> None:
    names = ["Agent/10001@q", "a;b@c", "ü ñ", "50%25", "{x}", "a+b", "..", "q?x#y", '"\\']
    for name in names:
        await ledger.write(newchannel(name))
    await get_at(client, await ledger.write(FULLY_BOOTED))
    from urllib.parse import quote

    from yarl import URL

    for name in names:
        path = quote(name, safe="").replace(".", "%2E")
        reply = await client.session.get(URL(f"{client.make_url(CHANNELS_VIEW)}/{path}", encoded=True))
        assert reply.status == 200, name
        assert (await reply.json())["result"]["unique_id"] == name


async def test_views_survive_lost_database_connections(client: Client, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    await ledger.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE '%ledger.head h LEFT JOIN%' AND pid <> pg_backend_pid()"
    )
    reply = await get_at(client, await ledger.write(newchannel("1.2")))
    assert len(await items_of(reply)) == 2


@pytest.mark.parametrize("where", ["services.projector.checkpoints.watcher.read", "api.http.views.current.read"])
async def test_a_connection_lost_during_a_query_is_retried(
    client: Client, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The error of asyncpg depends on the moment; in the chaos run this one ended the process."""
    read = checkpoints.read
    failures = 0

    async def fail_once(connection: asyncpg.Connection) -> CheckpointReading:
        nonlocal failures
        if not failures:
            failures += 1
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
        return await read(connection)

    monkeypatch.setattr(where, fail_once)
    await client.app[CHECKPOINTS].refresh()
    replies = [await client.get(CHANNELS_VIEW), await client.get(CHANNELS_VIEW)]
    assert failures
    assert [reply.status for reply in replies] == ([503, 200] if where == "api.http.views.current.read" else [200, 200])
    assert await client.app[CHECKPOINTS].refresh()
    assert not client.app[FAILED].done()
