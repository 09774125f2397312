"""Records the settings that read calls, so that a log is always read as it was when its events came."""

import time

import asyncpg
import msgspec

from schemas.call_settings import CallSettings
from services.log.append import append_events
from services.log.writer import own_event

LAST = """
SELECT raw FROM ledger.event
WHERE source = 'ringledger' AND pbx = '' AND name = 'CallSettings' ORDER BY position DESC LIMIT 1
"""


async def read_call_settings(connection: asyncpg.Connection) -> CallSettings:
    """Return the last settings in the log; without any, the defaults."""
    raw: bytes | None = await connection.fetchval(LAST)
    return CallSettings() if raw is None else msgspec.json.decode(raw, type=CallSettings)


async def write_call_settings(connection: asyncpg.Connection, settings: CallSettings) -> None:
    """Append the settings if they differ from the last ones. Only one process may do so at a time."""
    if await read_call_settings(connection) != settings:
        await append_events(connection, "", time.time_ns(), 1, [own_event(settings)])
