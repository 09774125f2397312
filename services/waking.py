"""Wakes the commander of a PBX; it also looks by itself now and then, so a call that is lost is only later."""

import asyncpg

CHANNEL = "ringledger_act"


async def wake_commander(connection: asyncpg.Connection, pbx: str) -> None:
    """Say that there is something to do at this PBX."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, pbx[:1000])
