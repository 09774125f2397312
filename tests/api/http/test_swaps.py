"""Views while read models are rebuilt and swapped under load: always available, and never older than they claim."""

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

import api.http.views.current
import services.projector.process
from api.app import create
from api.app_keys import CHECKPOINTS, SEEDED, VIEWS
from api.http.views.current import MAX_ATTEMPTS, CachedBody, CurrentViews
from api.http.views.view import Query, View
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
from services.projector.checkpoints.checkpoints import Checkpoint, CheckpointReading, read
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.projector.rebuild.diff import ReadOnlyWriter, ScratchProjector
from services.projector.rebuild.rebuild import rebuild
from tests.captures import wire
from tests.support.api_client import PASSWORD, Client, admin_token
from tests.support.polling import eventually

# A rebuild ends only if this machine folds the log as fast as it grows, into the served and the new tables.
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
"""Views of one model, whose rows must equal that model at the served position: SQL, its arguments, item."""
OTHERS = (ENDPOINTS, "/v1/admin/queue/entries", "/agents")
NEVER_EMPTY = {ENDPOINTS, DEVICES, "/v1/admin/queue/members", "/v1/admin/queue/queues"}


def recorded_events() -> list[NewEvent]:
    received: list[NewEvent] = []
    protocol = LedgerProtocol(received.extend, lambda _: None)
    protocol.closed = False
    protocol.data_received(wire("rich22"))
    return received


class World:
    """A ledger that grows, its projector, and an API over it."""

    client: Client

    def __init__(
        self, url: str, connection: asyncpg.Connection, writer: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.url = url
        self.connection = connection
        self._writer = writer
        self._monkeypatch = monkeypatch
        self._next = 1
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def append(self, *events: NewEvent) -> int:
        position = await append_events(self._writer, "pbx", 1, self._next, events)
        self._next += len(events)
        return position

    async def write_block(self, block: str) -> int:
        return await self.append(NewEvent("ami", block[7:].partition("\r")[0], None, 1.0, f"{block}\r\n\r\n".encode()))

    async def project(self, *models: ReadModel) -> None:
        """Start a projector with other versions of some models; stop the previous one."""
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

    async def wait_folded(self, position: int) -> None:
        await self.eventually(FOLDED, position)

    async def refresh(self) -> None:
        await self.client.app[CHECKPOINTS].refresh()


@pytest.fixture
async def world(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    connection, writer = [await connect(url, search_path="model, ledger") for _ in range(2)]
    world = World(url, connection, writer, monkeypatch)
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
    await writer.close()
    await connection.close()


class Reader:
    """A client that reads views in a loop and fails on a wrong response."""

    def __init__(self, client: Client, positions: dict[str, int], *, tagged: bool, wait: str = "") -> None:
        self.positions = positions
        """The highest position of each view in a response to any reader."""
        self.answers = 0
        self.unchanged = 0
        self.bodies: list[tuple[str, int, bytes]] = []
        self._client = client
        self._tagged = tagged
        self._query = {"wait": wait} if wait else {}

    async def run(self, done: asyncio.Event) -> None:
        tags: dict[str, str] = {}
        for path in itertools.cycle([*EXACT, *OTHERS]):
            if done.is_set():
                return
            tag = tags.get(path) if self._tagged else None
            before = self.positions.get(path, 0)
            reply = await self._client.get(path, params=self._query, headers={"If-None-Match": tag} if tag else {})
            body = await reply.read()
            assert reply.status in {200, 304}, f"{path}: {reply.status} {body!r}"
            position = int(reply.headers["X-Ledger-Position"])
            assert position >= before, f"{path} was at {before} and is at {position}"
            self.positions[path] = max(position, self.positions.get(path, 0))
            self.answers += 1
            if reply.status == 304:
                assert reply.headers["ETag"] == tag
                self.unchanged += 1
                continue
            assert reply.headers["ETag"] != tag
            tags[path] = reply.headers["ETag"]
            items = msgspec.json.decode(body)["result"]["list"]
            assert items or path not in NEVER_EMPTY, f"{path} is empty at {position}"
            if path in EXACT:
                self.bodies.append((path, position, body))


async def compare(world: World, samples: list[tuple[str, int, bytes]]) -> int:
    """Compare each response with a fold of the log up to its position; return their number."""
    connection = await connect(world.url, search_path="model, ledger")
    models = [model for model in ALL if model.name in {"channels", "queue_members", "queues", "device_states"}]
    scratch = ScratchProjector(connection, models, {}, ReadOnlyWriter(connection))
    await scratch.open()
    for path, position, body in sorted(samples, key=lambda sample: sample[1]):
        items = msgspec.json.decode(body)["result"]["list"]
        for cursor in scratch.cursors:
            cursor.until = position
        while await scratch.advance():
            pass
        sql, size, item = EXACT[path]
        rows = await connection.fetch(sql, *(None,) * size)
        expected = msgspec.json.decode(msgspec.json.encode([item(row, datetime.now(UTC)) for row in rows]))
        for one in (*items, *expected):
            one.pop("duration", None)  # it changes every second
        assert items == expected, f"{path} at {position} differs from the fold of the log"
    await connection.close()
    return len(samples)


def thinned(bodies: list[tuple[str, int, bytes]], size: int) -> Iterator[tuple[str, int, bytes]]:
    return itertools.islice(bodies, 0, None, max(1, len(bodies) // size))


def samples_of(readers: list[Reader]) -> list[tuple[str, int, bytes]]:
    return [sample for reader in readers for sample in thinned(reader.bodies, 100)]


def has_enough(readers: list[Reader]) -> bool:
    """Check that the readers have many responses, at many positions, some of them 304."""
    samples = samples_of(readers)
    answers = sum(reader.answers for reader in readers)
    return answers > 1000 and len(samples) > 250 and len({at for _, at, _ in samples}) > 50 and readers[1].unchanged > 0


async def test_views_stay_correct_during_swaps_under_load(world: World) -> None:
    events = recorded_events()
    await world.wait_folded(await world.append(*events[:6000]))
    await world.refresh()
    done = asyncio.Event()

    async def grow() -> None:
        for start in itertools.cycle(range(6000, len(events), 10)):
            if done.is_set():
                return
            position = await world.append(*events[start : start + 10])
            # A slow machine's rebuild would never end if the log grew faster than the rebuild.
            if not await world._writer.fetchval(IS_NEAR, position):
                await eventually(partial(world._writer.fetchval, FOLLOWED, position), FOLLOWED, 600)

    positions: dict[str, int] = {}
    readers = [Reader(world.client, positions, tagged=False), Reader(world.client, positions, tagged=True)]
    readers.append(Reader(world.client, positions, tagged=True, wait="0.05"))
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
        change_task = asyncio.create_task(change())
        await asyncio.wait([change_task, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            assert not task.done() or task.exception() is None, task.exception()
        await change_task
        async with asyncio.timeout(600):  # on a busy machine the swaps may end before the readers have enough
            while not has_enough(readers) and not any(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=0.5)
    finally:
        done.set()
        await asyncio.gather(*tasks)
    assert swaps == 3 * (len(ALL) + 5 + 3)
    assert has_enough(readers)
    assert readers[0].unchanged == 0
    assert await compare(world, samples_of(readers)) > 200


async def test_a_swap_changes_the_tag_once(world: World) -> None:
    await world.wait_folded(await world.append(*recorded_events()[:3000]))
    await world.refresh()
    path = "/v1/admin/queue/members"
    before = await world.client.get(path)
    for _ in range(2):  # no event precedes the second swap, so the position is the same
        done = asyncio.Event()

        async def watch(done: asyncio.Event = done) -> list[str]:
            tags = []
            while not done.is_set():
                tags.append((await world.client.get(path)).headers["ETag"])
            return [tag for tag, _ in itertools.groupby(tags)]

        watcher = asyncio.create_task(watch())
        waiting = asyncio.create_task(
            world.client.get(path, params={"wait": "30"}, headers={"If-None-Match": before.headers["ETag"]})
        )
        assert (await rebuild(world.url, [QUEUE_MEMBERS], None, asyncio.Event())).code == 0
        async with asyncio.timeout(300):
            after = await waiting  # the swap ends the long poll
        await world.refresh()
        done.set()
        assert await watcher == [before.headers["ETag"], after.headers["ETag"]]
        assert await after.json() | {"timestamp": ""} == await before.json() | {"timestamp": ""}
        before = after


def device_states_of(kind: type[Any]) -> ReadModel:
    """Return a version of device states whose column ``state`` has another type."""

    class Typed(Device):
        state: kind  # type: ignore[valid-type]

    def apply(_row: Device | None, e: DeviceState) -> Device:
        return Typed(pbx=e.pbx, tm_update=e.at, device=e.device, state=kind(len(e.state)))

    on = {"DeviceStateChange": Handler(DeviceState, by_device, apply, list_item_wins=True)}
    return replace(DEVICE_STATES, row=Typed, on=on)


async def test_columns_of_another_type_are_served_at_once(world: World) -> None:
    """The prepared statements of the API's connections have the old types."""
    await world.wait_folded(await world.write_block("Event: DeviceStateChange\r\nDevice: PJSIP/1\r\nState: INUSE"))
    await world.refresh()
    path = f"{DEVICES}/"
    values = []
    for version, kind in enumerate((int, str, int, float), 2):
        model = replace(device_states_of(kind), version=version)
        await world.project(model)
        done = asyncio.Event()

        async def read(done: asyncio.Event = done) -> None:
            while not done.is_set():
                replies = [world.client.request("GET", path, json={"device": "PJSIP/1"}) for _ in range(8)]
                for reply in await asyncio.gather(*replies):
                    assert reply.status == 200, await reply.text()
                await world.refresh()

        reader = asyncio.create_task(read())
        served = "SELECT version = $1 FROM ledger.checkpoint WHERE model = 'device_states' AND place = 'model'"
        await world.eventually(served, version)
        await world.refresh()
        done.set()
        await reader
        reply = await world.client.request("GET", path, json={"device": "PJSIP/1"})
        values.append((await reply.json())["result"]["state"])
    assert values == [5, "5", 5, 5.0]


@pytest.mark.parametrize("column", ["channel", "variables"])
async def test_a_table_of_another_version_is_503(world: World, column: str) -> None:
    """The API has the new version already; the served table lacks a column, or has it with another type."""
    await world.wait_folded(await world.write_block("Event: Newchannel\r\nUniqueid: 1.1\r\nChannel: PJSIP/1-1"))
    await world.refresh()
    await world.stop()
    path = "/v1/admin/core/channels"
    assert (await world.client.get(path)).status == 200
    change = {"channel": "DROP COLUMN channel", "variables": "ALTER COLUMN variables TYPE text USING '1'"}[column]
    await world.connection.execute(f"ALTER TABLE channels {change}; UPDATE checkpoint SET changed = changed + 1")
    await world.refresh()
    assert (await world.client.get(path)).status == 500  # an internal error
    await world.connection.execute("UPDATE checkpoint SET version = 0 WHERE model = 'channels'")
    await world.refresh()
    reply = await world.client.get(path)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert "read model channels is still served in another version" in await reply.text()
    await world.project()
    await world.eventually("SELECT version = $1 FROM checkpoint WHERE model = 'channels'", CHANNELS.version)
    await world.refresh()
    assert [c["channel"] for c in (await (await world.client.get(path)).json())["result"]["list"]] == ["PJSIP/1-1"]


async def test_links_of_another_version_are_incomplete(world: World) -> None:
    await world.stop()
    await world.connection.execute(
        "ALTER TABLE links DROP COLUMN healed; UPDATE checkpoint SET version = 0 WHERE model = 'links'"
    )
    await world.refresh()
    reply = await world.client.get("/v1/admin/core/channels")
    assert (reply.status, reply.headers["X-Ledger-Complete"]) == (200, "false")


@pytest.mark.parametrize("times", [3, 4])
async def test_a_statement_cancelled_by_a_replica_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    tries = 0

    async def read_with_conflicts(connection: asyncpg.Connection) -> CheckpointReading:
        nonlocal tries
        tries += 1
        if tries <= times:
            raise asyncpg.SerializationError("canceling statement due to conflict with recovery")
        return await read(connection)

    monkeypatch.setattr(api.http.views.current, "read", read_with_conflicts)
    reply = await world.client.get("/v1/admin/core/modules")
    assert (reply.status, tries) == (200 if times < MAX_ATTEMPTS else 503, MAX_ATTEMPTS)


def reading(began: float, ended: float, position: int, swaps: int = 0) -> CheckpointReading:
    checkpoint = Checkpoint(version=1, position=position, changed=0, swaps=swaps, at=None, error=None)
    return CheckpointReading(began, ended, position, {"channels": checkpoint}, {})


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (reading(3, 4, 10), reading(1, 2, 10)),
        (reading(3, 4, 5), reading(1, 2, 10)),  # the ledger was created again
        (reading(1, 4, 11), reading(2, 3, 10)),
        (reading(1, 3, 11), reading(2, 4, 10)),
        (reading(2, 4, 11), reading(1, 3, 10)),
        (reading(1, 4, 10, swaps=1), reading(2, 3, 10)),
        (reading(2, 3, 10), reading(1, 4, 10)),
    ],
)
def test_the_later_of_two_readings_wins(later: CheckpointReading, earlier: CheckpointReading) -> None:
    assert later.is_after(earlier)
    assert not earlier.is_after(later)
    for order in ((earlier, later), (later, earlier)):
        checkpoints = CheckpointWatcher("")
        for result in order:
            checkpoints.observe(result)
        assert checkpoints.newest is later


class OvertakenViews(CurrentViews):
    """Views whose first read ends after a newer checkpoint, which a second request already requires."""

    late: "asyncio.Task[tuple[CachedBody, CheckpointReading]] | None" = None

    async def _look(self, query: Query) -> tuple[CheckpointReading, datetime, list[asyncpg.Record]]:
        now = datetime.now(UTC)
        if self.late is not None:
            return reading(5, 6, 20, swaps=1), now, []
        self._checkpoints.observe(reading(3, 4, 20, swaps=1))
        self.late = asyncio.create_task(self._current(query))
        return reading(1, 2, 10), now, []


async def test_a_late_request_gets_a_new_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    tries, is_fresh = itertools.count(1), api.http.views.current._is_fresh

    def count_and_check(view: View, body: CachedBody, needed: CheckpointReading) -> bool:
        assert next(tries) < 100, "the cache is checked in a loop without a pause"
        return is_fresh(view, body, needed)

    monkeypatch.setattr(api.http.views.current, "_is_fresh", count_and_check)
    checkpoints = CheckpointWatcher("")
    checkpoints.observe(reading(1, 2, 10))
    pool: Any = None
    views = OvertakenViews(pool, checkpoints, pool)
    view = View("channels.list", ("channels",), "", lambda _: (), lambda rows, _: list(rows), RENDERER)
    body, _ = await views._current(Query(view, None, ()))
    assert body.reading.position(view.models) == 10
    assert views.late is not None
    body, _ = await views.late
    assert body.reading.position(view.models) == 20


async def test_a_slow_response_has_no_older_position(world: World) -> None:
    """The response was read earlier and has the same rows; meanwhile another response had a later position."""
    path = "/v1/admin/queue/members"
    await world.wait_folded(await world.append(*recorded_events()[:3000]))
    await world.refresh()
    views, checkpoints = world.client.app[VIEWS], world.client.app[CHECKPOINTS]
    look = views._look
    looked, may_continue = asyncio.Event(), asyncio.Event()

    async def look_slowly(*args: Any) -> Any:
        result = await look(*args)
        looked.set()
        await may_continue.wait()
        return result

    views._look = look_slowly
    views._cache.clear()
    first = asyncio.create_task(world.client.get(path))
    await looked.wait()
    nothing = "Event: FullyBooted\r\nStatus: Fully Booted"
    await world.wait_folded(position := await world.write_block(nothing))
    await world.refresh()
    assert checkpoints.reading.position(("queue_members",)) >= position
    second = asyncio.create_task(world.client.get(path))  # requires the present rows, which equal the first response
    other = await world.client.get("/healthz")  # by now the second request waits
    assert other.status == 200
    member = "Event: QueueMemberAdded\r\nQueue: new\r\nMemberName: x\r\nInterface: PJSIP/x\r\nMembership: dynamic"
    await world.wait_folded(await world.write_block(member))
    await world.refresh()
    may_continue.set()
    assert int((await first).headers["X-Ledger-Position"]) < position
    assert int((await second).headers["X-Ledger-Position"]) >= position


SWAPPING = """
SELECT EXISTS (SELECT FROM ledger.rebuild WHERE ended IS NOT NULL)
    OR EXISTS (SELECT FROM pg_locks WHERE relation = 'ledger.checkpoint'::regclass AND mode = 'AccessExclusiveLock'
               AND NOT granted AND clock_timestamp() - waitstart > interval '50 ms')
"""


async def test_a_swap_waits_for_a_running_view(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the new table are newer than the snapshot of the view, which would see an empty table."""
    path = "/v1/admin/queue/members"
    await world.wait_folded(await world.append(*recorded_events()[:3000]))
    await world.refresh()
    before = (await (await world.client.get(path)).json())["result"]
    rebuilds: list[asyncio.Task[Any]] = []

    async def read_and_rebuild(connection: asyncpg.Connection) -> CheckpointReading:
        result = await read(connection)
        if not rebuilds:
            rebuilds.append(asyncio.create_task(rebuild(world.url, [QUEUE_MEMBERS], None, asyncio.Event())))
            await world.eventually(SWAPPING)
        return result

    monkeypatch.setattr(api.http.views.current, "read", read_and_rebuild)
    world.client.app[VIEWS]._cache.clear()
    reply = await world.client.get(path)
    assert reply.status == 200, await reply.text()
    assert (await reply.json())["result"] == before
    assert len(before["list"]) > 10
    assert (await rebuilds[0]).code == 0
