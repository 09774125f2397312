"""The clock of the log, set to a time for later appends."""

from datetime import datetime

import asyncpg


async def set_clock(connection: asyncpg.Connection, at: datetime | str) -> None:
    """Let ``ledger.append`` use this time; a text has its zone, or is UTC by the session's setting."""
    await connection.execute(
        f"CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN timestamptz '{at}'"
    )
