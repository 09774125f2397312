"""The channels of LISTEN and NOTIFY. Every receiver also polls, so a lost notification only causes a delay.

The schema (services/database/migrations) holds the same names as literals; a test compares them.
"""

from enum import StrEnum, unique

import asyncpg

from services.database.pool import Pool


@unique
class NotifyChannel(StrEnum):
    """Channels of LISTEN and NOTIFY."""

    LOG = "ledger"
    """The log has grown; the payload is the position of its end."""
    MODELS = "ringledger_model"
    REBUILD = "ringledger_rebuild"
    ACTS = "ringledger_act"


async def notify_commander(connection: asyncpg.Connection | Pool, pbx: str) -> None:
    """Notify the commander of this PBX."""
    await connection.execute("SELECT pg_notify($1, $2)", NotifyChannel.ACTS, pbx[:1000])
