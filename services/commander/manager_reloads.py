"""Reloads of manager.conf in the log of one PBX: a session keeps the classes of its login."""

from services.asterisk.ami.snapshots import MANAGER
from services.database.pool import Fetch

# This reads no event; a newer reload is rare.
LAST_RELOAD = "SELECT last FROM ledger.name WHERE pbx = $1 AND source = 'ami' AND name = 'Reload'"
RELOADS = """
SELECT raw FROM ledger.event
WHERE pbx = $1 AND source = 'ami' AND name = 'Reload' AND position > $2 AND octet_length(raw) <= 4096
ORDER BY position DESC LIMIT 100
"""


class ManagerReloads:
    """The position of the last reload that was read."""

    def __init__(self, pbx: str) -> None:
        self._pbx = pbx
        self._last: int | None = None

    async def is_reloaded(self, fetch: Fetch) -> bool:
        """Return whether manager.conf was reloaded since the last call; the first call returns False."""
        rows = await fetch(LAST_RELOAD, self._pbx)
        previous, self._last = self._last, rows[0]["last"] if rows else 0
        if previous is None or self._last <= previous:
            return False
        return any(MANAGER.search(row["raw"]) for row in await fetch(RELOADS, self._pbx, previous))
