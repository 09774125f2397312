"""The AMI links of a PBX's listener and commander, as the database shows them.

Asterisk may allow a user one session (``allowmultiplelogin = no``). Then the listener has priority: the commander logs
in only while the listener has its link, and ends its session if Asterisk refuses the listener.
"""

from typing import Any, Literal

from services.database.pool import Fetch

ListenerLink = Literal["up", "down", "refused", "none"]
"""``none``: no listener has ever started for this PBX."""

# A listener renews its lease each second. Its last status counts for as long as it may be alive.
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
LISTENER_TTL_SECONDS = 5.0
"""A listener that has not renewed its lease for this long counts as absent."""
COMMANDER_TTL_SECONDS = 10.0
"""A commander that has not recorded its link for this long counts as absent."""
COMMANDERS = """
SELECT pbx, link, trouble, abs(extract(epoch FROM clock_timestamp() - updated))::float8 AS age
FROM ledger.commander ORDER BY pbx
"""
RECORD = """
INSERT INTO ledger.commander (pbx, link, trouble) VALUES ($1, $2, $3)
ON CONFLICT (pbx) DO UPDATE SET updated = now(), link = excluded.link, trouble = excluded.trouble
"""


async def listener_link(fetch: Fetch, pbx: str) -> ListenerLink:
    """Return the state of the listener's link."""
    rows = await fetch(STATE, pbx, LISTENER_TTL_SECONDS)
    value: Any = rows[0]["state"] if rows else "none"
    state: ListenerLink = value
    return state


def trouble_of(link: str, trouble: str) -> str:
    """Return the trouble of a commander in one sentence; while its link is up, acts still reach the PBX."""
    return trouble if link == "up" else f"no act reaches it: {trouble}"


async def record_commander(fetch: Fetch, pbx: str, *, is_up: bool, trouble: str) -> None:
    """Record the state of the commander's link."""
    await fetch(RECORD, pbx, "up" if is_up else "down", trouble)
