"""Redacts the events of the log, chunk by chunk."""

import asyncpg
from msgspec import Struct

from projections import ALL
from projections.engine.subscriptions import event_names_of
from services.log.chain import leaf
from services.log.read import head_position
from services.retention.redact_pattern import RedactionPattern
from services.retention.redact_report import Redaction
from services.runtime.progress import ProgressBar

WINDOW_POSITIONS = 10_000
CHUNK_EVENTS = 2_000
"""Events changed in one transaction: the event that describes them has 300 kB."""

EVENTS = """
SELECT position, pbx, source, name, ledger.microseconds(occurred), ledger.microseconds(recorded), raw,
       tableoid::regclass::text, ledger.salt(position)
FROM ledger.event
WHERE position > $1 AND position <= $2
  AND (raw LIKE ANY ($3::bytea[]) OR (source = 'ringledger' AND name = 'Rejected'))
ORDER BY position
"""
REDACT = "SELECT ledger.redact($1, $2, $3, $4, $5, $6, $7, $8, $9)"


class EventChange(Struct):
    """One event with its new bytes, and the leaf of its old ones."""

    position: int
    leaf: bytes
    raw: bytes
    name: str


class LogRedactor:
    """Searches the log, and unless ``dry_run`` is set changes it; ``redaction`` counts, ``partitions`` are affected."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        pattern: RedactionPattern,
        redaction: Redaction,
        reason: str,
        actor: str,
        *,
        dry_run: bool = False,
    ) -> None:
        self.redaction = redaction
        self.partitions: set[str] = set()
        self._connection = connection
        self._pattern = pattern
        self._reason = reason
        self._actor = actor
        self._dry_run = dry_run
        self._pending: dict[str, list[EventChange]] = {}

    async def run(self, after: int) -> int:
        """Redact all events after a position; return the end of the log."""
        with ProgressBar("redacting") as progress:
            while after < (head := await head_position(self._connection)):
                until = min(after + WINDOW_POSITIONS, head)
                for row in await self._connection.fetch(EVENTS, after, until, self._pattern.like_patterns):
                    self._redact_event(row)
                for pbx, changes in self._pending.items():
                    while len(changes) >= CHUNK_EVENTS:
                        await self._commit(pbx, changes)
                after = until
                progress.show(after, head)
        for pbx, changes in self._pending.items():
            while changes:
                await self._commit(pbx, changes)
        return after

    def _redact_event(self, row: asyncpg.Record) -> None:
        position, pbx, source, name, occurred, recorded, raw, partition, salt = row
        new = self._pattern.redact(source, name, raw, self.redaction.token)
        self.redaction.unchanged += self._pattern.occurs_in(new)
        if new == raw:
            return
        change = EventChange(position, leaf(salt, occurred, recorded, source, name, raw), new, name)
        if self._dry_run:
            self.redaction.count(pbx, name, position)
        else:
            self.partitions.add(partition)
            self._pending.setdefault(pbx, []).append(change)

    async def _commit(self, pbx: str, changes: list[EventChange]) -> None:
        """Change one chunk of events, and append the event that describes the changes."""
        chunk = changes[:CHUNK_EVENTS]
        names = {change.name for change in chunk}
        await self._connection.execute(
            REDACT,
            pbx,
            self._pattern.kind,
            self.redaction.token,
            self._reason,
            self._actor,
            [c.position for c in chunk],
            [c.leaf for c in chunk],
            [c.raw for c in chunk],
            [m.name for m in ALL if names & event_names_of(m)],
        )
        del changes[: len(chunk)]
        for change in chunk:
            self.redaction.count(pbx, change.name, change.position)
