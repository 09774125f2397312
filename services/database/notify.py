"""Wakes the commander of a PBX; it also looks by itself now and then, so a call that is lost is only later."""

import asyncpg

from services.database.locks import Channel
from services.database.pool import Pool


async def wake_commander(connection: asyncpg.Connection | Pool, pbx: str) -> None:
    """Notify the commander of this PBX."""
    await connection.execute("SELECT pg_notify($1, $2)", Channel.ACTS, pbx[:1000])
