"""Whether a commander serves a PBX: without one no act is carried out there."""

import asyncio
import time

from services.database.pool import Pool
from services.log.listener_link import COMMANDER_TTL_SECONDS
from services.runtime.errors import NotReady

START_SECONDS = 2.0
"""How long a request waits for a commander that starts or takes over."""
POLL_SECONDS = 0.1

SERVED = """
SELECT EXISTS (
    SELECT FROM ledger.commander
    WHERE pbx = $1 AND abs(extract(epoch FROM clock_timestamp() - updated)) <= $2
)
"""
SENT = """
SELECT EXISTS (
    SELECT FROM ledger.event
    WHERE pbx = $1 AND source = 'ringledger' AND name = 'ActSent' AND position > $2
      AND convert_from(raw, 'UTF8')::jsonb ->> 'id' = $3
)
"""


async def is_served(pool: Pool, pbx: str) -> bool:
    """Return whether a commander of this PBX is present, or arrives within `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while not await pool.fetchval(SERVED, pbx, COMMANDER_TTL_SECONDS):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def is_lost(pool: Pool, pbx: str, act_id: str, position: int) -> bool:
    """Return whether the act requested at ``position`` was not sent, and no commander is present to send it."""
    if await pool.fetchval(SENT, pbx, position, act_id):
        return False
    return not await pool.fetchval(SERVED, pbx, COMMANDER_TTL_SECONDS)


def no_commander(pbx: str, recorded: str, request_id: str, position: int | None = None) -> NotReady:
    """Return the refusal; ``recorded`` states what became of the request at ``position``."""
    text = (
        f"no commander serves the PBX {pbx}: check that it is in RINGLEDGER_AMI, and that `ringledger command` runs"
        f" (`ringledger up` runs it); {recorded}"
    )
    details = {} if position is None else {"position": position}
    return NotReady(text, details=details, position=position, request_id=request_id)
