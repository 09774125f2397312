"""The listener's AMI link to a PBX, as the database shows it, and the commander's beside it.

Asterisk may allow a user one session (``allowmultiplelogin = no``). Listening comes first: the commander logs in while
the listener has its link, and gives way when Asterisk refuses the listener.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import asyncpg

Ask = Callable[..., Awaitable[list[asyncpg.Record]]]

ListenerLink = Literal["up", "down", "refused", "none"]
"""``none``: no listener has ever begun to listen to this PBX."""

# A listener renews each second. What it wrote last of the link counts for as long as it may be alive.
STATE = """
SELECT CASE
    WHEN l.renewed <= clock_timestamp() - make_interval(secs => $2) THEN 'down'
    WHEN l.status ->> 'link' = 'up' THEN 'up'
    WHEN refused.position > coalesce(connected.position, 0) THEN 'refused'
    ELSE 'down'
END AS state
FROM ledger.listener l
LEFT JOIN LATERAL (
    SELECT position FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'LoginRefused'
    ORDER BY position DESC LIMIT 1
) refused ON true
LEFT JOIN LATERAL (
    SELECT position FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'Connected'
    ORDER BY position DESC LIMIT 1
) connected ON true
WHERE l.pbx = $1 AND l.kind = 'ami'
"""
LISTENER_SECONDS = 5.0
"""A listener that has renewed nothing for so long is not there."""
COMMANDER_SECONDS = 10.0
"""A commander that has shown nothing for so long is not there."""
COMMANDERS = """
SELECT pbx, link, trouble, abs(extract(epoch FROM clock_timestamp() - updated))::float8 AS age
FROM ledger.commander ORDER BY pbx
"""
SHOW = """
INSERT INTO ledger.commander (pbx, link, trouble) VALUES ($1, $2, $3)
ON CONFLICT (pbx) DO UPDATE SET updated = now(), link = excluded.link, trouble = excluded.trouble
"""


async def listener_link(ask: Ask, pbx: str) -> ListenerLink:
    """Return the state of the listener's link."""
    rows = await ask(STATE, pbx, LISTENER_SECONDS)
    found: Any = rows[0]["state"] if rows else "none"
    state: ListenerLink = found
    return state


def trouble_of(link: str, trouble: str) -> str:
    """Return the trouble of a commander in one sentence; with its link up, acts reach the PBX all the same."""
    return trouble if link == "up" else f"no act reaches it: {trouble}"


async def show_commander(ask: Ask, pbx: str, *, is_up: bool, trouble: str) -> None:
    """Write down the state of the commander's link."""
    await ask(SHOW, pbx, "up" if is_up else "down", trouble)
