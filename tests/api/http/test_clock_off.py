"""Durations of a PBX whose clock is ten minutes behind Ringledger's, or ahead: they follow the PBX's clock."""

import math
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.app_keys import CHECKPOINTS
from api.jade.stream import CATALOG
from api.stream.messages import messages_of
from projections import ALL
from projections.engine.state import FoldState
from projections.engine.step import StepFold
from schemas.log import NewEvent
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.clock_off import Clock
from tests.support.folding import recorded_all
from tests.support.ledger import Ledger
from tests.support.status import INSERT_LISTENER, scrape

CHANNELS, ENTRIES, PARKED = "/v1/admin/core/channels", "/v1/admin/queue/entries", "/v1/admin/park/parkedcalls"
GROWING = ((CHANNELS, "duration"), (ENTRIES, "wait"), (PARKED, "parking_duration"))
OFF = pytest.mark.parametrize("off", [-600, 600], ids=["behind", "ahead"])


async def client_of(ledger: Ledger, serve: Serve, *events: NewEvent) -> Client:
    """Log the events, and return a client of an API whose models have folded them."""
    position = await ledger.write(*events)
    client = await serve_as_admin(serve)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
    return client


async def get_value(client: Client, path: str, member: str, **query: Any) -> int:
    reply = await client.get(path, params=query)
    assert reply.status == 200, await reply.text()
    [item] = (await reply.json())["result"]["list"]
    return int(item[member])


async def has_duration_since(client: Client, path: str, member: str, since: float) -> bool:
    """Check that a view has the duration since ``since``; the view may be a second old."""
    least = math.floor(time.time() - since) - 1
    duration = await get_value(client, path, member)
    return max(0, least) <= duration <= math.floor(time.time() - since)


def rfc_3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


@OFF
async def test_durations_are_right_after_the_first_event(ledger: Ledger, serve: Serve, off: int) -> None:
    began = time.time()
    pbx = Clock(off, began)
    client = await client_of(ledger, serve, *pbx.joined(began), *pbx.parked(began))
    for path, member in GROWING:
        assert await has_duration_since(client, path, member, began), path
    left = await get_value(client, PARKED, "parking_timeout")
    assert math.floor(45 - (time.time() - began)) <= left <= 45


@OFF
async def test_durations_are_right_after_a_list(ledger: Ledger, serve: Serve, off: int) -> None:
    began = time.time() - 45
    pbx = Clock(off, began)
    events = [*pbx.joined(began), *pbx.parked(began), *pbx.listed(began + 40.4, 40)]
    client = await client_of(ledger, serve, *events)
    for path, member in GROWING:
        assert await has_duration_since(client, path, member, began), path
        # The event has the start to the microsecond, so the whole seconds of the list change nothing.
        assert await get_value(client, path, member, as_of=rfc_3339(began + 44.1)) == 44
    assert await get_value(client, PARKED, "parking_timeout", as_of=rfc_3339(began + 44.1)) == 1


@OFF
async def test_durations_are_right_from_a_list_alone(ledger: Ledger, serve: Serve, off: int) -> None:
    at = time.time() - 5
    client = await client_of(ledger, serve, *Clock(off, at - 39).listed(at, 39))
    for path, member in GROWING:
        assert await has_duration_since(client, path, member, at - 39), path
    assert await get_value(client, PARKED, "parking_timeout", as_of=rfc_3339(at + 2.4)) == 4


@OFF
async def test_as_of_a_time_has_its_durations(ledger: Ledger, serve: Serve, off: int) -> None:
    began = time.time() - 100
    pbx = Clock(off, began)
    client = await client_of(ledger, serve, *pbx.joined(began), *pbx.parked(began), *pbx.listed(began + 40, 40))
    for path, member in GROWING:
        durations = [
            await get_value(client, path, member, as_of=rfc_3339(began + after))
            for after in (0.3, 30.3, 40.3, 41.5, 99.3)
        ]
        assert durations == [0, 30, 40, 41, 99], path
    left = [
        await get_value(client, PARKED, "parking_timeout", as_of=rfc_3339(began + after))
        for after in (0.3, 30.3, 45.3, 99.3)
    ]
    assert left == [45, 15, 0, 0]


async def test_a_list_corrects_durations_after_a_clock_jump(ledger: Ledger, serve: Serve) -> None:
    began, hour = time.time() + 3600 - 40, 3600
    pbx = Clock(0, began - hour)
    # The call began before Ringledger's clock was set back by an hour; the list follows afterwards.
    events = [*pbx.joined(began), *pbx.parked(began), *pbx.listed(began - hour + 40, 40)]
    client = await client_of(ledger, serve, *events)
    for path, member in GROWING:
        assert await has_duration_since(client, path, member, began - hour), path


@OFF
def test_a_message_has_the_durations_of_its_event(off: int) -> None:
    pbx, durations = Clock(off, 1000.0), dict[str, int]()
    models = [model for model in ALL if model.name in CATALOG.by_model]
    step = StepFold(models, {model.name: (FoldState(), []) for model in models})
    for event in recorded_all([*pbx.joined(1000.0), *pbx.parked(1000.0)]):
        for message in messages_of(event, step.apply(event) if event.name in step.names else [], step, CATALOG):
            item = next(iter(msgspec.json.decode(message.data).values()))
            durations |= {name: item[name] for name in ("duration", "wait", "parking_duration") if name in item}
    assert durations == {"duration": 0, "wait": 0, "parking_duration": 0}


async def write_offsets(ledger: Ledger, **offsets: float | None) -> None:
    for pbx, offset in offsets.items():
        status = {"link": "up", "waiting": 0, "clock_offset": offset}
        await ledger.connection.execute(INSERT_LISTENER, pbx, "ami", 17, datetime.now(UTC), status)


async def test_readyz_names_the_pbx_whose_clock_differs(ledger: Ledger, serve: Serve) -> None:
    await write_offsets(ledger, late=-600.2, early=31.4, right=4.9, unknown=None)
    client = await serve()
    reply = await client.get("/readyz")
    body = await reply.json()
    assert (reply.status, body["status"]) == (200, "ready")
    assert body["warnings"] == [
        "the clock of early is 31 s ahead of the listener's",
        "the clock of late is 600 s behind the listener's",
    ]
    assert {one["pbx"]: one["clock_offset"] for one in body["listeners"]}["right"] == 4.9


async def test_metrics_have_the_clock_offset_of_each_pbx(ledger: Ledger, serve: Serve) -> None:
    await write_offsets(ledger, late=-600.2, right=0.1, unknown=None)
    client = await client_of(ledger, serve)
    offsets = (await scrape(client))["ringledger_pbx_clock_offset_seconds"]
    assert offsets == {("late",): -600.2, ("right",): 0.1}
