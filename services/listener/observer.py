"""The notifications of an ingest to the receiver of its events."""

import asyncpg


class IngestObserver:
    """The receiver of events from a PBX, as its `Ingest` notifies it. These methods do nothing."""

    async def before_first_append(self, connection: asyncpg.Connection) -> None:
        """Read from the log before the first append of this run's events, and after the log has rewound."""

    def on_log_rewound(self) -> None:
        """Handle a log that has lost acknowledged events; nothing is appended before this returns."""

    def on_full_change(self, is_full: bool) -> None:  # noqa: FBT001
        """Stop reading when the backlog is full, and read again when it is not."""
