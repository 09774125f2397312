"""Reloads of manager.conf in the log of one PBX: a session keeps the classes of its login."""

from services.asterisk.ami.snapshots import MANAGER
from services.log.listener_link import Ask

# This needs no read of the log, and rarely is there a newer reload.
LAST = "SELECT last FROM ledger.name WHERE pbx = $1 AND source = 'ami' AND name = 'Reload'"
RELOADS = """
SELECT raw FROM ledger.event
WHERE pbx = $1 AND source = 'ami' AND name = 'Reload' AND position > $2 AND octet_length(raw) <= 4096
ORDER BY position DESC LIMIT 100
"""


class ManagerReloads:
    """What of them is known."""

    def __init__(self, pbx: str) -> None:
        self._pbx = pbx
        self._last: int | None = None

    async def found(self, ask: Ask) -> bool:
        """Return whether the log has a newer one than at the last call; the first call finds none."""
        rows = await ask(LAST, self._pbx)
        known, self._last = self._last, rows[0]["last"] if rows else 0
        if known is None or self._last <= known:
            return False
        return any(MANAGER.search(row["raw"]) for row in await ask(RELOADS, self._pbx, known))
