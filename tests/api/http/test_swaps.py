"""Views while read models are rebuilt and swapped under load: always there, never older than they say."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

import api.http.current_views
import services.projector.process
from api.app import create
from api.app_keys import CHECKPOINTS, SEEDED, VIEWS
from api.http.current_views import MAX_ATTEMPTS, CachedBody, CurrentViews
from api.http.views import Query, View
from api.jade import core, queue, queue_members
from api.jade import legacy as root
from api.jade.envelope import RENDERER
from api.jade.resource import columns
from projections import ALL
from projections.calls.channels import CHANNELS
from projections.endpoints.device_states import DEVICE_STATES, Device, by_device
from projections.engine.model import Handler, ReadModel
from projections.people.tokens import TOKENS
from projections.people.users import USERS
from projections.queues.queue_members import QUEUE_MEMBERS
from schemas.ami.device import DeviceState
from schemas.log import NewEvent
from schemas.settings import Settings
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from services.log.append import append_events
from services.projector.checkpoint_watcher import CheckpointWatcher
from services.projector.checkpoints import Checkpoint, CheckpointReading, read
from services.projector.rebuild import rebuild
from services.projector.rebuild_diff import ReadOnlyWriter, ScratchProjector
from tests.captures import wire
from tests.support.api_client import PASSWORD, Client, admin_token
from tests.support.polling import eventually

# A rebuild ends only where the log grows no faster than this machine folds it, into the served tables and the new ones.
IS_NEAR = "SELECT max(position) >= $1 - 200 AND min(position) >= $1 - 2000 FROM checkpoint"
FOLLOWED = "SELECT min(position) >= $1 FROM checkpoint"
FOLDED = "SELECT min(position) >= $1 FROM ledger.checkpoint WHERE place = 'model'"
RAISED = """
SELECT count(*) = 3 FROM ledger.checkpoint
WHERE place = 'model' AND version = $1 AND model IN ('channels', 'queue_members', 'device_states')
"""
SWAPS = "SELECT sum(swaps) FROM ledger.checkpoint WHERE place = 'model'"
DEVICES = "/device_states"
ENDPOINTS = "/v1/admin/pjsip/endpoints"
EXACT: dict[str, tuple[str, int, Any]] = {
    "/v1/admin/core/channels": (core.CHANNELS_SQL, 2, core.channel),
    "/v1/admin/queue/members": (queue_members.MEMBERS_SQL, 3, columns),
    "/v1/admin/queue/queues": (queue.QUEUES_SQL, 2, columns),
    DEVICES: (root.DEVICES_SQL, 2, columns),
}
"""Views of one model: what they say is what that model is at the position told. SQL, its arguments, item."""
OTHERS = (ENDPOINTS, "/v1/admin/queue/entries", "/agents")
NEVER_EMPTY = {ENDPOINTS, DEVICES, "/v1/admin/queue/members", "/v1/admin/queue/queues"}


def recorded() -> list[NewEvent]:
    received: list[NewEvent] = []
    protocol = LedgerProtocol(received.extend, lambda _: None)
    protocol.closed = False
    protocol.data_received(wire("rich22"))
    return received


class World:
    """A ledger that grows, its projector, and an API over it."""

    client: Client

    def __init__(
        self, url: str, connection: asyncpg.Connection, pen: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.url = url
        self.connection = connection
        self._pen = pen
        self._monkeypatch = monkeypatch
        self._next = 1
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def append(self, *events: NewEvent) -> int:
        position = await append_events(self._pen, "pbx", 1, self._next, events)
        self._next += len(events)
        return position

    async def said(self, block: str) -> int:
        return await self.append(NewEvent("ami", block[7:].partition("\r")[0], None, 1.0, f"{block}\r\n\r\n".encode()))

    async def project(self, *models: ReadModel) -> None:
        """Start a projector, with other versions of some models; stop the one that ran."""
        await self.stop()
        other = {model.name: model for model in models}
        self._monkeypatch.setattr(services.projector.process, "ALL", [other.get(model.name, model) for model in ALL])
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(services.projector.process.project(self.url, self._stop))

    async def stop(self) -> None:
        self._stop.set()
        if self._running is not None:
            await self._running

    async def eventually(self, query: str, *arguments: object) -> None:
        await eventually(lambda: self.connection.fetchval(query, *arguments), query)

    async def folded(self, position: int) -> None:
        await self.eventually(FOLDED, position)

    async def refreshed(self) -> None:
        await self.client.app[CHECKPOINTS].refresh()


@pytest.fixture
async def world(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    connection, pen = [await connect(url, search_path="model, ledger") for _ in range(2)]
    world = World(url, connection, pen, monkeypatch)
    await world.project()
    app = create(url, Settings(data=tmp_path, admin_password=PASSWORD))
    world.client = TestClient(TestServer(app))
    await world.client.start_server()
    async with asyncio.timeout(300):
        await app[SEEDED].wait()
    world.client.session.headers["Authorization"] = f"Bearer {await admin_token(world.client)}"
    yield world
    await world.client.close()
    await world.stop()
    await pen.close()
    await connection.close()


class Reader:
    """Looks at views again and again, and notes what must not be."""

    def __init__(self, client: Client, told: dict[str, int], *, tagged: bool, wait: str = "") -> None:
        self.positions = told
        """By view, the highest that an answer to any reader has told."""
        self.answers = 0
        self.unchanged = 0
        self.kept: list[tuple[str, int, bytes]] = []
        self._client = client
        self._tagged = tagged
        self._query = {"wait": wait} if wait else {}

    async def run(self, done: asyncio.Event) -> None:
        tags: dict[str, str] = {}
        for path in itertools.cycle([*EXACT, *OTHERS]):
            if done.is_set():
                return
            known = tags.get(path) if self._tagged else None
            before = self.positions.get(path, 0)
            reply = await self._client.get(path, params=self._query, headers={"If-None-Match": known} if known else {})
            body = await reply.read()
            assert reply.status in {200, 304}, f"{path}: {reply.status} {body!r}"
            position = int(reply.headers["X-Ledger-Position"])
            assert position >= before, f"{path} was at {before} and is at {position}"
            self.positions[path] = max(position, self.positions.get(path, 0))
            self.answers += 1
            if reply.status == 304:
                assert reply.headers["ETag"] == known
                self.unchanged += 1
                continue
            assert reply.headers["ETag"] != known
            tags[path] = reply.headers["ETag"]
            items = msgspec.json.decode(body)["result"]["list"]
            assert items or path not in NEVER_EMPTY, f"{path} is empty at {position}"
            if path in EXACT:
                self.kept.append((path, position, body))


async def compared(world: World, kept: list[tuple[str, int, bytes]]) -> int:
    """Compare each answer with a fold of the log up to its position; return how many."""
    connection = await connect(world.url, search_path="model, ledger")
    models = [model for model in ALL if model.name in {"channels", "queue_members", "queues", "device_states"}]
    scratch = ScratchProjector(connection, models, {}, ReadOnlyWriter(connection))
    await scratch.open()
    for path, position, body in sorted(kept, key=lambda one: one[1]):
        items = msgspec.json.decode(body)["result"]["list"]
        for cursor in scratch.cursors:
            cursor.until = position
        while await scratch.advance():
            pass
        sql, size, item = EXACT[path]
        rows = await connection.fetch(sql, *(None,) * size)
        expected = msgspec.json.decode(msgspec.json.encode([item(row, datetime.now(UTC)) for row in rows]))
        for one in (*items, *expected):
            one.pop("duration", None)  # it ticks
        assert items == expected, f"{path} at {position} is not what the log says"
    await connection.close()
    return len(kept)


def thinned(kept: list[tuple[str, int, bytes]], size: int) -> Iterator[tuple[str, int, bytes]]:
    return itertools.islice(kept, 0, None, max(1, len(kept) // size))


def samples(readers: list[Reader]) -> list[tuple[str, int, bytes]]:
    return [one for reader in readers for one in thinned(reader.kept, 100)]


def enough(readers: list[Reader]) -> bool:
    """Say whether what the readers have seen shows anything: many answers, at many positions, some of them 304."""
    kept = samples(readers)
    answers = sum(reader.answers for reader in readers)
    return answers > 1000 and len(kept) > 250 and len({at for _, at, _ in kept}) > 50 and readers[1].unchanged > 0


async def test_views_under_load_while_models_are_swapped_again_and_again(world: World) -> None:
    events = recorded()
    await world.folded(await world.append(*events[:6000]))
    await world.refreshed()
    done = asyncio.Event()

    async def grow() -> None:
        for start in itertools.cycle(range(6000, len(events), 10)):
            if done.is_set():
                return
            position = await world.append(*events[start : start + 10])
            # A log that went on as soon as a rebuild is near would keep a slow machine's rebuild from the end for ever.
            if not await world._pen.fetchval(IS_NEAR, position):
                await eventually(partial(world._pen.fetchval, FOLLOWED, position), FOLLOWED, 600)

    told: dict[str, int] = {}
    readers = [Reader(world.client, told, tagged=False), Reader(world.client, told, tagged=True)]
    readers.append(Reader(world.client, told, tagged=True, wait="0.05"))
    tasks = [asyncio.create_task(job) for job in (grow(), *(reader.run(done) for reader in readers))]
    swaps = 0

    async def change() -> None:
        nonlocal swaps
        for version in (102, 103, 104):
            assert (await rebuild(world.url, ALL, None, asyncio.Event())).code == 0
            for models in ([CHANNELS], [QUEUE_MEMBERS, DEVICE_STATES], [USERS, TOKENS]):
                assert (await rebuild(world.url, models, None, asyncio.Event())).code == 0
            await world.project(*(replace(m, version=version) for m in (CHANNELS, QUEUE_MEMBERS, DEVICE_STATES)))
            await world.eventually(RAISED, version)
        swaps = await world.connection.fetchval(SWAPS)

    try:
        changing = asyncio.create_task(change())
        await asyncio.wait([changing, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            assert not task.done() or task.exception() is None, task.exception()
        await changing
        async with asyncio.timeout(600):  # a busy machine has swapped before it has looked often enough
            while not enough(readers) and not any(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=0.5)
    finally:
        done.set()
        await asyncio.gather(*tasks)
    assert swaps == 3 * (len(ALL) + 5 + 3)
    assert enough(readers)
    assert readers[0].unchanged == 0
    assert await compared(world, samples(readers)) > 200


async def test_a_swap_is_one_change_of_the_tag_and_no_other(world: World) -> None:
    await world.folded(await world.append(*recorded()[:3000]))
    await world.refreshed()
    path = "/v1/admin/queue/members"
    before = await world.client.get(path)
    for _ in range(2):  # the second time no event lies between: the position is the same
        done = asyncio.Event()

        async def watch(done: asyncio.Event = done) -> list[str]:
            tags = []
            while not done.is_set():
                tags.append((await world.client.get(path)).headers["ETag"])
            return [tag for tag, _ in itertools.groupby(tags)]

        watching = asyncio.create_task(watch())
        waiting = asyncio.create_task(
            world.client.get(path, params={"wait": "30"}, headers={"If-None-Match": before.headers["ETag"]})
        )
        assert (await rebuild(world.url, [QUEUE_MEMBERS], None, asyncio.Event())).code == 0
        async with asyncio.timeout(300):
            after = await waiting  # who waits for a change is told
        await world.refreshed()
        done.set()
        assert await watching == [before.headers["ETag"], after.headers["ETag"]]
        assert await after.json() | {"timestamp": ""} == await before.json() | {"timestamp": ""}
        before = after


def states(kind: type[Any]) -> ReadModel:
    """Another version of device states, whose state is of another type."""

    class Typed(Device):
        state: kind  # type: ignore[valid-type]

    def became(_row: Device | None, e: DeviceState) -> Device:
        return Typed(pbx=e.pbx, tm_update=e.at, device=e.device, state=kind(len(e.state)))

    on = {"DeviceStateChange": Handler(DeviceState, by_device, became, list_item_wins=True)}
    return replace(DEVICE_STATES, row=Typed, on=on)


async def test_columns_of_another_type_are_served_at_once(world: World) -> None:
    """The statements that the API's connections have prepared are for the old ones."""
    await world.folded(await world.said("Event: DeviceStateChange\r\nDevice: PJSIP/1\r\nState: INUSE"))
    await world.refreshed()
    path = f"{DEVICES}/"
    seen = []
    for version, kind in enumerate((int, str, int, float), 2):
        model = replace(states(kind), version=version)
        await world.project(model)
        done = asyncio.Event()

        async def read(done: asyncio.Event = done) -> None:
            while not done.is_set():
                replies = [world.client.request("GET", path, json={"device": "PJSIP/1"}) for _ in range(8)]
                for reply in await asyncio.gather(*replies):
                    assert reply.status == 200, await reply.text()
                await world.refreshed()

        reading = asyncio.create_task(read())
        served = "SELECT version = $1 FROM ledger.checkpoint WHERE model = 'device_states' AND place = 'model'"
        await world.eventually(served, version)
        await world.refreshed()
        done.set()
        await reading
        reply = await world.client.request("GET", path, json={"device": "PJSIP/1"})
        seen.append((await reply.json())["result"]["state"])
    assert seen == [5, "5", 5, 5.0]


@pytest.mark.parametrize("broken", ["channel", "variables"])
async def test_a_table_that_waits_for_its_new_version_is_not_ready(world: World, broken: str) -> None:
    """The API is of the new version already, and the served table lacks a column, or has it in another form."""
    await world.folded(await world.said("Event: Newchannel\r\nUniqueid: 1.1\r\nChannel: PJSIP/1-1"))
    await world.refreshed()
    await world.stop()
    path = "/v1/admin/core/channels"
    assert (await world.client.get(path)).status == 200
    change = {"channel": "DROP COLUMN channel", "variables": "ALTER COLUMN variables TYPE text USING '1'"}[broken]
    await world.connection.execute(f"ALTER TABLE channels {change}; UPDATE checkpoint SET changed = changed + 1")
    await world.refreshed()
    assert (await world.client.get(path)).status == 500  # a fault of ours
    await world.connection.execute("UPDATE checkpoint SET version = 0 WHERE model = 'channels'")
    await world.refreshed()
    reply = await world.client.get(path)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert "read model channels is still served in another version" in await reply.text()
    await world.project()
    await world.eventually("SELECT version = $1 FROM checkpoint WHERE model = 'channels'", CHANNELS.version)
    await world.refreshed()
    assert [c["channel"] for c in (await (await world.client.get(path)).json())["result"]["list"]] == ["PJSIP/1-1"]


async def test_what_the_links_say_waits_for_their_new_version(world: World) -> None:
    await world.stop()
    await world.connection.execute(
        "ALTER TABLE links DROP COLUMN healed; UPDATE checkpoint SET version = 0 WHERE model = 'links'"
    )
    await world.refreshed()
    reply = await world.client.get("/v1/admin/core/channels")
    assert (reply.status, reply.headers["X-Ledger-Complete"]) == (200, "false")


@pytest.mark.parametrize("times", [3, 4])
async def test_a_replica_that_cancels_a_statement_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    tries = 0

    async def conflicting(connection: asyncpg.Connection) -> CheckpointReading:
        nonlocal tries
        tries += 1
        if tries <= times:
            raise asyncpg.SerializationError("canceling statement due to conflict with recovery")
        return await read(connection)

    monkeypatch.setattr(api.http.current_views, "read", conflicting)
    reply = await world.client.get("/v1/admin/core/modules")
    assert (reply.status, tries) == (200 if times < MAX_ATTEMPTS else 503, MAX_ATTEMPTS)


def reading(began: float, ended: float, position: int, swaps: int = 0) -> CheckpointReading:
    checkpoint = Checkpoint(version=1, position=position, changed=0, swaps=swaps, at=None, error=None)
    return CheckpointReading(began, ended, position, {"channels": checkpoint}, {})


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (reading(3, 4, 10), reading(1, 2, 10)),
        (reading(3, 4, 5), reading(1, 2, 10)),  # somebody began the ledger anew
        (reading(1, 4, 11), reading(2, 3, 10)),
        (reading(1, 3, 11), reading(2, 4, 10)),
        (reading(2, 4, 11), reading(1, 3, 10)),
        (reading(1, 4, 10, swaps=1), reading(2, 3, 10)),
        (reading(2, 3, 10), reading(1, 4, 10)),
    ],
)
def test_of_two_readings_the_later_one_counts_whichever_comes_first(
    later: CheckpointReading, earlier: CheckpointReading
) -> None:
    assert later.is_after(earlier)
    assert not earlier.is_after(later)
    for order in ((earlier, later), (later, earlier)):
        checkpoints = CheckpointWatcher("")
        for one in order:
            checkpoints.observe(one)
        assert checkpoints.newest is later


class Looking(CurrentViews):
    """Looks at what was, and meanwhile there is something newer, which somebody asks for just before it is done."""

    late: "asyncio.Task[tuple[CachedBody, CheckpointReading]] | None" = None

    async def _look(self, query: Query) -> tuple[CheckpointReading, datetime, list[asyncpg.Record]]:
        now = datetime.now(UTC)
        if self.late is not None:
            return reading(5, 6, 20, swaps=1), now, []
        self._checkpoints.observe(reading(3, 4, 20, swaps=1))
        self.late = asyncio.create_task(self._current(query))
        return reading(1, 2, 10), now, []


async def test_who_asks_as_an_older_answer_is_finished_gets_one_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tries, good = itertools.count(1), api.http.current_views._is_fresh

    def counted(view: View, kept: CachedBody, needed: CheckpointReading) -> bool:
        assert next(tries) < 100, "asked again and again without a pause"
        return good(view, kept, needed)

    monkeypatch.setattr(api.http.current_views, "_is_fresh", counted)
    checkpoints = CheckpointWatcher("")
    checkpoints.observe(reading(1, 2, 10))
    pool: Any = None
    views = Looking(pool, checkpoints, pool)
    view = View("channels.list", ("channels",), "", lambda _: (), lambda rows, _: list(rows), RENDERER)
    kept, _ = await views._current(Query(view, None, ()))
    assert kept.reading.position(view.models) == 10
    assert views.late is not None
    kept, _ = await views.late
    assert kept.reading.position(view.models) == 20


async def test_an_answer_that_took_long_does_not_tell_an_older_position(world: World) -> None:
    """It was rendered from an older moment, its rows are the same, and meanwhile a position had been told."""
    path = "/v1/admin/queue/members"
    await world.folded(await world.append(*recorded()[:3000]))
    await world.refreshed()
    views, checkpoints = world.client.app[VIEWS], world.client.app[CHECKPOINTS]
    look = views._look
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any) -> Any:
        found = await look(*args)
        looked.set()
        await go_on.wait()
        return found

    views._look = slowly
    views._cache.clear()
    first = asyncio.create_task(world.client.get(path))
    await looked.wait()
    nothing = "Event: FullyBooted\r\nStatus: Fully Booted"
    await world.folded(position := await world.said(nothing))
    await world.refreshed()
    assert checkpoints.reading.position(("queue_members",)) >= position
    second = asyncio.create_task(world.client.get(path))  # needs what there is now, and the first one's bytes are it
    other = await world.client.get("/healthz")  # so the second one is at it
    assert other.status == 200
    member = "Event: QueueMemberAdded\r\nQueue: new\r\nMemberName: x\r\nInterface: PJSIP/x\r\nMembership: dynamic"
    await world.folded(await world.said(member))
    await world.refreshed()
    go_on.set()
    assert int((await first).headers["X-Ledger-Position"]) < position
    assert int((await second).headers["X-Ledger-Position"]) >= position


SWAPPING = """
SELECT EXISTS (SELECT FROM ledger.rebuild WHERE ended IS NOT NULL)
    OR EXISTS (SELECT FROM pg_locks WHERE relation = 'ledger.checkpoint'::regclass AND mode = 'AccessExclusiveLock'
               AND NOT granted AND clock_timestamp() - waitstart > interval '50 ms')
"""


async def test_a_swap_between_checkpoints_and_rows_has_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new table's rows were written after our snapshot: we would find it, and find it empty."""
    path = "/v1/admin/queue/members"
    await world.folded(await world.append(*recorded()[:3000]))
    await world.refreshed()
    before = (await (await world.client.get(path)).json())["result"]
    rebuilding: list[asyncio.Task[Any]] = []

    async def overtaken(connection: asyncpg.Connection) -> CheckpointReading:
        found = await read(connection)
        if not rebuilding:
            rebuilding.append(asyncio.create_task(rebuild(world.url, [QUEUE_MEMBERS], None, asyncio.Event())))
            await world.eventually(SWAPPING)
        return found

    monkeypatch.setattr(api.http.current_views, "read", overtaken)
    world.client.app[VIEWS]._cache.clear()
    reply = await world.client.get(path)
    assert reply.status == 200, await reply.text()
    assert (await reply.json())["result"] == before
    assert len(before["list"]) > 10
    assert (await rebuilding[0]).code == 0
