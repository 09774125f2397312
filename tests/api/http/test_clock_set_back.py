"""Ages and freshness while Ringledger's clock is an hour back, and at once after it was set."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.app_keys import CHECKPOINTS
from api.ops.listeners import read_status_file
from projections import ALL
from schemas.log import Connected, Minute, NewEvent, RingledgerEvent, SnapshotCompleted, SnapshotStarted
from services.projector.checkpoints.checkpoints import Checkpoint, CheckpointReading
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.runtime.clock import Clock, boot_id
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.ledger import Ledger
from tests.support.status import INSERT_LISTENER, get_json

HOUR = 3600.0
BACK = Clock(lambda: time.time() - HOUR, time.monotonic)


def event_at(when: float, event: RingledgerEvent) -> NewEvent:
    return NewEvent("ringledger", type(event).__name__, when, when, msgspec.json.encode(event))


async def test_a_link_with_a_future_minute_is_incomplete(ledger: Ledger, serve: Serve) -> None:
    client = await serve_as_admin(serve)

    async def complete(*events: NewEvent) -> str:
        position = await ledger.write(*events)
        await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
        return (await client.get("/v1/admin/core/channels")).headers["X-Ledger-Complete"]

    now = time.time()
    up = [event_at(now + HOUR, event) for event in (Connected("a:1"), SnapshotStarted(1), SnapshotCompleted(1))]
    assert await complete(*up, event_at(now + HOUR, Minute(60, "up", 1))) == "false"
    assert await complete(event_at(time.time(), Minute(120, "up", 1))) == "true"


def age_of_status_file(file: Path, **more: Any) -> float:
    listener = {"pbx": "a", "kind": "ami", "holding": True}
    file.write_text(json.dumps({"at": time.time(), "listeners": [listener], **more}))
    [status] = read_status_file(file, BACK)
    return status.age


def test_a_status_file_ages_by_the_monotonic_clock(tmp_path: Path) -> None:
    passed = time.monotonic() - 7
    assert 7 <= age_of_status_file(tmp_path / "listeners.json", passed=passed, boot=boot_id()) < 60


@pytest.mark.parametrize("more", [{}, {"passed": 7.0, "boot": "another"}, {"passed": 7.0, "boot": "unknown"}])
def test_a_status_file_of_another_boot_is_old(tmp_path: Path, more: dict[str, Any]) -> None:
    assert age_of_status_file(tmp_path / "listeners.json", **more) > HOUR - 60


async def test_a_lease_renewal_from_the_future_is_old(ledger: Ledger, serve: Serve) -> None:
    client: Client = await serve()
    renewed = datetime.now(UTC) + timedelta(seconds=HOUR)
    await ledger.connection.execute(INSERT_LISTENER, "a", "ami", 17, renewed, {})
    [listener] = (await get_json(client, "/readyz"))["listeners"]
    assert HOUR - 60 < listener["age"] <= HOUR


def reading(began: float, head: int, position: int) -> CheckpointReading:
    recorded = datetime.fromtimestamp(time.time(), UTC)
    checkpoint = Checkpoint(version=1, position=position, changed=1, swaps=0, at=recorded, error=None)
    return CheckpointReading(began, began, head, {"channels": checkpoint}, {})


async def test_the_lag_grows_while_the_clock_is_back() -> None:
    checkpoints = CheckpointWatcher("", clock=BACK)
    now = asyncio.get_running_loop().time()
    checkpoints.observe(reading(now - 9, head=5, position=5))
    checkpoints.observe(behind := reading(now, head=6, position=5))
    assert 9_000 <= checkpoints.lag_ms(("channels",), behind) < 60_000


async def test_the_lag_grows_before_the_first_catch_up() -> None:
    checkpoints = CheckpointWatcher("", clock=BACK)
    now = asyncio.get_running_loop().time()
    checkpoints.observe(reading(now - 9, head=6, position=4))
    checkpoints.observe(behind := reading(now, head=6, position=5))
    assert 9_000 <= checkpoints.lag_ms(("channels",), behind) < 60_000
