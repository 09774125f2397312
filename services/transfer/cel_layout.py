"""The columns of CEL lines in the log: the event `CelColumns` precedes lines whose columns are not those before."""

import time

import asyncpg
import msgspec

from schemas.cel_columns import CelColumns
from services.log.append import append_events
from services.log.writer import own_event
from services.transfer.asterisk_files import Columns

LAST = """
SELECT raw FROM ledger.event
WHERE source = 'ringledger' AND pbx = $1 AND name = 'CelColumns' AND position <= $2 ORDER BY position DESC LIMIT 1
"""


async def read_columns(connection: asyncpg.Connection, pbx: str, position: int) -> Columns:
    """Return the columns of a PBX's CEL lines after a position."""
    raw: bytes | None = await connection.fetchval(LAST, pbx, position)
    return () if raw is None else msgspec.json.decode(raw, type=CelColumns).columns


async def write_columns(connection: asyncpg.Connection, pbx: str, columns: Columns, position: int) -> None:
    """Record the columns of the lines that follow, unless the log at ``position`` has the same."""
    if await read_columns(connection, pbx, position) != columns:
        await append_events(connection, pbx, time.time_ns(), 1, [own_event(CelColumns(columns))])
