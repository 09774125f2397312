"""as_of on every view: the response of the time when the log ended there, and errors for instants without one."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import ClientResponse
from yarl import URL

from api.app_keys import CHECKPOINTS, VIEWS
from api.cospace import jeye
from api.http.queues import Queues
from api.http.views import as_of
from api.http.views.as_of import AsOfViews, tables_in, with_tables
from api.http.views.view import Query
from api.jade.core import CHANNELS
from projections import ALL
from projections.people.tokens import TOKENS
from projections.people.users import USERS
from schemas.log import Connected, Disconnected, Minute, NewEvent, RingledgerEvent, SnapshotCompleted, SnapshotStarted
from services.database.connection import create_pool
from services.projector.projector import Projector
from services.projector.table import Table
from services.replay.as_of import AsOfReader, BrokenModelError
from tests.contract import operations
from tests.support import two_pbx_log
from tests.support.api_client import Client, Serve, serve_as_admin, serving
from tests.support.database import cloned, name_of
from tests.support.jade_views import LISTS, TICKING, views_of
from tests.support.ledger import Ledger, open_ledger

INSTANTS = 200
VIEW = "/v1/admin/core/channels"
PATHS = [operations()[operation].paths[0] for operation in LISTS]
PATHS += ["/agents/?id=1001", "/peers/?peer=100", "/v1/admin/pjsip/endpoints/100", "/v1/admin/queue/queues/support"]
PATHS += ["/api/statistics/2026-11-22", "/api/usage/2026-11", "/api/jeye/rich22", "/v1/admin/queue/members?pbx=rich16"]


class Both:
    """Two APIs over one log: ``past`` has folded all of it, ``present`` only up to a position."""

    def __init__(
        self, past: Client, present: Client, ledger: Ledger, projector: Projector, events: list[two_pbx_log.Event]
    ) -> None:
        self.past, self.present, self.ledger, self.events = past, present, ledger, events
        self._projector = projector

    async def fold_to(self, position: int) -> None:
        while (at := self._projector.cursors[0].position) < position:
            await self._projector.advance(min(5_000, position - at))
        assert self._projector.stopped == {}
        await self.present.app[CHECKPOINTS].refresh()


@pytest.fixture(scope="module")
async def both(
    postgresql_url: str, two_pbx_url: str, two_pbx_log_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(cloned(postgresql_url, name_of(two_pbx_url)))
        present_url = await stack.enter_async_context(cloned(postgresql_url, name_of(two_pbx_log_url)))
        events = await two_pbx_log.events_of(url)
        past, present = await open_ledger(url), await open_ledger(present_url, (USERS, TOKENS))
        rest = Projector(present.connection, [model for model in ALL if model.name not in {USERS.name, TOKENS.name}])
        await rest.open()
        folder = tmp_path_factory.mktemp("data")
        async with serving(past, folder) as one, serving(present, folder) as other:
            yield Both(one, other, past, rest, events)
        for ledger in (past, present):
            await ledger.close()


def without_ticking(item: Any) -> Any:
    """Return the item without the members that change with time."""
    if isinstance(item, dict):
        return {name: without_ticking(value) for name, value in item.items() if name not in {*TICKING, "timestamp"}}
    return [without_ticking(one) for one in item] if isinstance(item, list) else item


async def summary(reply: ClientResponse) -> Any:
    return reply.status, reply.headers.get("X-Ledger-Position"), without_ticking(await reply.json())


def prefixes(events: list[two_pbx_log.Event]) -> dict[int, datetime]:
    """Return the positions up to which the log has exactly the events received by some time, with that time."""
    after = datetime.max.replace(tzinfo=UTC)
    earliest = []
    for _, at in reversed(events):
        earliest.append(after)
        after = min(after, at)
    instants, latest = {}, datetime.min.replace(tzinfo=UTC)
    for (event, at), following in zip(events, reversed(earliest), strict=True):
        latest = max(latest, at)
        if latest < following:
            instants[event.position] = latest
    return instants


async def test_as_of_equals_the_view_served_then(both: Both) -> None:
    dice = random.Random(200)
    by_position = prefixes(both.events)
    positions = sorted(
        [*dice.sample(sorted(by_position), INSTANTS // 2), *dice.sample(range(1, len(both.events)), 100)]
    )
    shown, by_time = set(), 0
    for position in positions:
        await both.fold_to(position)
        for path in dice.sample(PATHS, 3):
            expected = await summary(await both.present.get(path))
            more = "&" if "?" in path else "?"
            past = await summary(await both.past.get(f"{path}{more}as_of={position}"))
            assert past == expected, (path, position)
            if position in by_position:
                at = by_position[position].isoformat().replace("+00:00", "Z")
                past = await summary(await both.past.get(f"{path}{more}as_of={at}"))
                assert past == expected, (path, at)
                by_time += 1
            if expected[0] == 200 and expected[2] not in ({"result": {"list": []}}, {}):
                shown.add(path)
    assert by_time >= 3 * INSTANTS // 2
    assert shown >= set(PATHS) - {"/api/jeye/rich22"}


async def test_an_as_of_plan_reads_no_table(both: Both) -> None:
    """The ``models`` of every view name all tables of its SQL."""
    routed = [views_of(route.handler) for route in both.past.app.router.routes()]
    views = {view.name: view for view in set().union(*routed)} | {
        sql: jeye.view("jeye", sql) for sql in (jeye.FORWARD, jeye.BACKWARD)
    }
    assert len(views) > 40, "some views are missing"
    connection = both.ledger.connection
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for view in views.values():
        tables = tables_in(view.sql, [Table(model) for model in ALL if model.name in view.models])
        first = 1 + max(int(number) for number in re.findall(r"\$(\d+)", view.sql))
        await connection.execute(f"PREPARE shadowed AS {with_tables(view.sql, first, tables)}")
        nulls = ", ".join(["NULL"] * (first - 1 + sum(len(table.columns) for table in tables)))
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE shadowed ({nulls})")
        assert "Function Scan" in plan, view.name
        assert "Relation Name" not in plan, view.name
        await connection.execute("DEALLOCATE shadowed")


async def test_as_of_works_in_a_read_only_database(both: Both) -> None:
    url, position = both.ledger.url, len(both.events) // 2
    async with await create_pool(url, size=1, search_path="model", default_transaction_read_only="on") as pool:
        rendered = await AsOfViews(pool, Queues().as_of).render(
            Query(CHANNELS.all, None, (None,)), str(position), "admin"
        )
    assert rendered.body is not None
    assert len(msgspec.json.decode(b"".join(rendered.body))["list"]) > 3


async def test_a_running_as_of_does_not_delay_shutdown(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun = asyncio.Event()

    async def endless(*_: Any) -> Any:
        has_begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AsOfReader, "read", endless)
    async with await create_pool(both.ledger.url, size=2, search_path="model") as pool:
        views = AsOfViews(pool, Queues().as_of)
        reading = asyncio.create_task(views.render(Query(CHANNELS.all, None, (None,)), "7", "admin"))
        await has_begun.wait()
        views.stop()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_other_tasks_run_while_an_as_of_folds(both: Both) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(take_turns())
    await asyncio.sleep(0)
    turns = 0
    assert (await both.past.get(VIEW, params={"as_of": str(len(both.events) - 7)})).status == 200
    other.cancel()
    assert turns > 5


async def test_the_same_as_of_is_folded_once(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = []
    fold = AsOfReader.read

    async def count_and_read(self: AsOfReader, *args: Any) -> Any:
        folds.append(args)
        return await fold(self, *args)

    monkeypatch.setattr(AsOfReader, "read", count_and_read)
    replies = await asyncio.gather(*(both.past.get(VIEW, params={"as_of": "12345"}) for _ in range(5)))
    replies.append(await both.past.get(VIEW, params={"as_of": "12345"}))
    assert len(folds) == 1
    assert len({(reply.headers["ETag"], await reply.text() == "") for reply in replies}) == 1
    await both.past.get(VIEW, params={"as_of": "12345", "pbx": "rich16"})
    await both.past.get(VIEW, params={"as_of": "12346"})
    assert len(folds) == 3


async def test_a_distant_or_broken_as_of_is_refused(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_of, "MAX_EVENTS", 60_000)
    reply = await both.past.get("/api/statistics/2026-11-22?as_of=61001")
    assert (reply.status, await reply.json()) == (400, {"status": "bad-parameter"})
    reply = await both.past.get("/api/statistics/2026-11-22?as_of=59001")
    assert reply.status == 200

    async def broken(*_: Any) -> Any:
        raise BrokenModelError("queues at position 7 (QueueParams)")

    monkeypatch.setattr(AsOfReader, "read", broken)
    reply = await both.past.get("/v1/admin/queue/queues?as_of=61002")
    assert reply.status == 500
    assert (await reply.json())["message"] == "as_of: read model queues at position 7 (QueueParams) cannot be folded"


INVALID_INSTANTS = [
    "",
    "x",
    "-1",
    "0",
    "99999999",
    "2026-11-22",
    "2026-11-22T01:00:00",
    "2000-01-01T00:00:00Z",
    "9999-01-01T00:00:00Z",
]


@pytest.mark.parametrize("text", [*INVALID_INSTANTS, "\udcff", "1" * 100])
async def test_an_invalid_instant_is_400_in_the_envelope(both: Both, text: str) -> None:
    instant = quote(text, errors="surrogateescape")
    for path in (VIEW, VIEW + "/no-such"):
        reply = await both.past.session.get(URL(f"{both.past.make_url(path)}?as_of={instant}", encoded=True))
        body = await reply.json()
        assert (reply.status, body["statuscode"], body["message"][:7]) == (400, 400, "as_of: ")
    reply = await both.past.session.get(
        URL(f"{both.past.make_url('/api/usage/2026-11')}?as_of={instant}", encoded=True)
    )
    assert (reply.status, await reply.json()) == (400, {"status": "bad-parameter"})


async def test_as_of_refuses_wait_and_requires_a_login(both: Both) -> None:
    reply = await both.past.get(VIEW, params={"as_of": "12345", "wait": "1"})
    assert reply.status == 400
    reply = await both.past.get(VIEW, params={"as_of": "12345"}, headers={"Authorization": "Bearer no"})
    assert reply.status == 401
    reply = await both.past.get(VIEW + "/no-such", params={"as_of": "12345"})
    assert (reply.status, reply.headers["X-Ledger-Position"]) == (404, "12345")


async def test_the_tag_of_an_instant_is_constant(both: Both) -> None:
    reply = await both.past.get(VIEW, params={"as_of": "23456"})
    tag = reply.headers["ETag"]
    assert (reply.headers["X-Ledger-Position"], reply.headers["X-Ledger-Lag-Ms"]) == ("23456", "0")
    both.past.app[VIEWS]._render_as_of.__self__._cache.clear()
    again = await both.past.get(VIEW, params={"as_of": "23456"}, headers={"If-None-Match": tag})
    assert (again.status, again.headers["ETag"], again.headers["X-Ledger-Position"]) == (304, tag, "23456")
    assert (await both.past.get(VIEW, params={"as_of": "23457"})).headers["ETag"] != tag
    assert (await both.past.get(VIEW)).headers["ETag"] != tag


def ami_event(seconds: float, name: str = "", **headers: str) -> NewEvent:
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return NewEvent("ami", name, seconds, seconds, f"Event: {name}\r\n{lines}\r\n".encode())


def own_event(seconds: float, event: RingledgerEvent) -> NewEvent:
    return NewEvent("ringledger", type(event).__name__, seconds, seconds, msgspec.json.encode(event))


def rfc_3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


async def test_durations_and_completeness_are_as_of_the_instant(serve: Serve, ledger: Ledger) -> None:
    client = await serve_as_admin(serve)
    begin = float(int(time.time())) - 1000  # whole seconds: microseconds cannot hold every fraction
    channel = {"Channel": "PJSIP/100-00000001", "Uniqueid": "1.1", "Linkedid": "1.1", "ChannelState": "4"}
    last = await ledger.write(
        own_event(begin, Connected("127.0.0.1:5038")),
        ami_event(begin + 10, "Newchannel", **channel),
        own_event(begin + 20, SnapshotStarted(7)),
        own_event(begin + 21, SnapshotCompleted(7)),
        own_event(begin + 60, Minute(60, "up", 9)),
        ami_event(begin + 400, "Newstate", **channel | {"ChannelState": "6"}),
        own_event(begin + 500, Disconnected("gone", begin + 500)),
        ami_event(begin + 501, "Hangup", **channel),
    )
    first = last - 7

    async def headers_and_durations(instant: object) -> tuple[str, str, list[int]]:
        reply = await client.get(VIEW, params={"as_of": str(instant)})
        assert reply.status == 200
        items = (await reply.json())["result"]["list"]
        headers = reply.headers
        return headers["X-Ledger-Position"], headers["X-Ledger-Complete"], [item["duration"] for item in items]

    # A position has the time of the newest event up to it, and the admin's login is newer than these events.
    assert (await headers_and_durations(first + 1))[:2] == (str(first + 1), "false")
    assert (await headers_and_durations(first + 1))[2][0] > 980
    assert await headers_and_durations(rfc_3339(begin + 5)) == (str(first), "false", [])
    assert await headers_and_durations(rfc_3339(begin + 15)) == (str(first + 1), "false", [5])
    assert await headers_and_durations(rfc_3339(begin + 22)) == (str(first + 3), "true", [12])
    assert await headers_and_durations(rfc_3339(begin + 209)) == (str(first + 4), "true", [199])
    # No Minute event has followed for too long.
    assert await headers_and_durations(rfc_3339(begin + 211)) == (str(first + 4), "false", [201])
    assert await headers_and_durations(rfc_3339(begin + 450)) == (str(first + 5), "false", [440])
    assert await headers_and_durations(rfc_3339(begin + 502)) == (str(last), "false", [])
    assert await headers_and_durations(rfc_3339(time.time() + 30)) == (str(last), "false", [])
    reply = await client.get(VIEW, params={"as_of": rfc_3339(time.time() + 120)})
    assert reply.status == 400
