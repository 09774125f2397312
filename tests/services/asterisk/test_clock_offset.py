"""The clock offset of a PBX, which the listener measures by the Timestamp of its Pongs."""

import time
from collections.abc import Callable

import asyncpg
import msgspec
import pytest

from schemas.listener import ListenerState
from services.asterisk.ami import session as session_module
from tests.support.fake_ami import FakeAmi, block
from tests.support.listener import listener_task
from tests.support.polling import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PING_INTERVAL_SECONDS", 0.05)


def pong(ahead: float) -> Callable[[dict[str, str]], bytes]:
    """Reply to Ping as a PBX whose clock is ``ahead`` seconds fast."""
    return lambda action: block(
        "Response: Success", f"ActionID: {action['ActionID']}", "Ping: Pong", f"Timestamp: {time.time() + ahead:.6f}"
    )


async def offset_of(url: str) -> float | None:
    connection = await asyncpg.connect(url)
    status = await connection.fetchval("SELECT status::text FROM ledger.listener WHERE pbx = 'pbx' AND kind = 'ami'")
    await connection.close()
    return msgspec.json.decode(status, type=ListenerState).clock_offset if status and status != "{}" else None


@pytest.mark.parametrize("ahead", [-600.0, 0.0, 600.0])
async def test_a_listener_posts_its_pbxs_clock_offset(url: str, ahead: float) -> None:
    async with FakeAmi() as pbx:
        pbx.replies["Ping"] = pong(ahead)
        async with listener_task(url, pbx.pbx()):
            while (offset := await offset_of(url)) is None:
                pass
    assert abs(offset - ahead) <= session_module.MAX_ROUND_TRIP_SECONDS / 2 + 0.1


@pytest.mark.parametrize("stamp", ["Timestamp: soon", "Timestamp: -1", "Timestamp: 1e300", "Tail: 1"])
async def test_a_pong_without_time_gives_no_offset(url: str, stamp: str) -> None:
    async with FakeAmi() as pbx:
        pbx.replies["Ping"] = lambda action: block(
            "Response: Success", f"ActionID: {action['ActionID']}", "Ping: Pong", stamp
        )
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: len(pbx.actions_named("Ping")) > 3)
            assert pbx.logins == 1
            assert await offset_of(url) is None


async def test_a_slow_pong_gives_no_offset(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_ROUND_TRIP_SECONDS", 0.0)
    async with FakeAmi() as pbx:
        pbx.replies["Ping"] = pong(600.0)
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: len(pbx.actions_named("Ping")) > 3)
            assert await offset_of(url) is None
