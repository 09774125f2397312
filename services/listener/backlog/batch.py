"""The oldest events of a backlog, as one append takes them."""

import sqlite3

from msgspec import Struct

from schemas.log import NewEvent
from services.listener.backlog.spool import Spool

BATCH_EVENTS = 4096
BATCH_BYTES = 1 << 23


class PendingBatch(Struct):
    """Events with ordinals from ``first`` on under ``writer``; ``spool`` is their file, None if they are in memory.

    Events in memory may move to the disk while they are being appended.
    """

    spool: Spool | None
    writer: int
    first: int
    events: list[NewEvent]

    @property
    def last(self) -> int:
        """The ordinal of the last event."""
        return self.first + len(self.events) - 1


def read_intact(spool: Spool, limit: int) -> list[NewEvent]:
    """Return the oldest events up to a damaged one. Raises sqlite3.DatabaseError if that is the first."""
    while True:
        try:
            return spool.read(limit)
        except sqlite3.DatabaseError:
            if limit == 1:
                raise
            limit = max(1, limit // 8)


def shorten(events: list[NewEvent]) -> list[NewEvent]:
    """Halve the list until it has at most `BATCH_BYTES`, or one event."""
    while sum([len(e.raw) for e in events]) > BATCH_BYTES and len(events) > 1:
        del events[(len(events) + 1) // 2 :]
    return events
