"""The settings that read calls are facts: the projector records each change, and nothing else."""

import asyncio

import msgspec
import pytest

from projections.engine.decoding import DecodedEvent
from schemas.call_settings import CallSettings, CallSettingsEvent
from schemas.log import RingledgerEvent
from services.database.connection import connect
from services.log.call_settings import read_call_settings, write_call_settings
from services.log.read import head_position, read_events, recorded_event
from services.projector.process import project
from tests.support.polling import eventually

TRUNKS = CallSettings(("PJSIP/provider*",))


async def facts(url: str) -> list[CallSettings]:
    connection = await connect(url)
    rows = await read_events(connection, 0, 1 << 40, ["CallSettings"])
    await connection.close()
    events = [recorded_event(row) for row in rows]
    assert {(e.pbx, e.source) for e in events} <= {("", "ringledger")}
    return [msgspec.json.decode(e.raw, type=CallSettings) for e in events]


async def test_only_a_change_is_written(url: str) -> None:
    connection = await connect(url)
    for settings in (CallSettings(), TRUNKS, TRUNKS, CallSettings(), CallSettings()):
        await write_call_settings(connection, settings)
        assert await read_call_settings(connection) == settings
    await connection.close()
    assert await facts(url) == [TRUNKS, CallSettings()]


async def test_a_fold_reads_the_settings_whole(url: str) -> None:
    connection = await connect(url)
    await write_call_settings(connection, TRUNKS)
    [row] = await read_events(connection, 0, 1, ["CallSettings"])
    await connection.close()
    event: CallSettingsEvent = DecodedEvent(recorded_event(row)).convert(CallSettingsEvent)
    assert (event.trunks, event.queue_events) == (TRUNKS.trunks, TRUNKS.queue_events)
    assert event.queue_events["CLOSED"] == "closed"
    assert issubclass(CallSettings, RingledgerEvent)


@pytest.mark.parametrize("settings", [None, CallSettings(), TRUNKS])
async def test_a_projector_writes_its_settings_once(url: str, settings: CallSettings | None) -> None:
    for _ in range(2):
        stop, is_active = asyncio.Event(), asyncio.Event()
        projecting = asyncio.create_task(project(url, stop, is_active, calls=settings))
        await asyncio.wait_for(is_active.wait(), 300)
        expected = [TRUNKS] if settings == TRUNKS else []

        async def is_written(expected: list[CallSettings] = expected) -> bool:
            return await facts(url) == expected

        await eventually(is_written, "the settings are in the log")
        stop.set()
        await projecting
    connection = await connect(url)
    assert await head_position(connection) == len(expected)
    await connection.close()
