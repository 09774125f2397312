"""Compares the log's head and counters (``ledger.head``, ``ledger.name``, ``ledger.connection``) with its events."""

from collections import Counter
from collections.abc import Mapping

import asyncpg

from services.integrity.compare import EventKind
from services.integrity.damage import BatchBoundary, DamageError
from services.log.batches import month_of
from services.log.chain import SealedBatch

HEAD = """
SELECT position, hash, appended, month, to_regclass('ledger.event_' || to_char(month, 'YYYY_MM')) IS NOT NULL AS open
FROM ledger.head
"""
NAMES = "SELECT pbx, source, name, count, last FROM ledger.name"
CONNECTIONS = "SELECT pbx, connection, last_ordinal FROM ledger.connection"


def check_head(head: asyncpg.Record, end: BatchBoundary, last: SealedBatch | None) -> None:
    """Compare the head with the last batch. Raises DamageError."""
    appended = last.appended if last is not None else head["appended"]
    for column, expected in {"position": end.position, "hash": end.hash, "appended": appended}.items():
        if head[column] != expected:
            value = head[column].hex() if column == "hash" else head[column]
            raise DamageError("altered", "head", end.position, f"its {column} is {value}, not that of the last batch")
    # An imported log may end before the newest month that has tables here.
    if not head["open"] or head["month"] < month_of(appended):
        raise DamageError("altered", "head", end.position, f"its month is {head['month']}")


def check_names(
    rows: list[asyncpg.Record],
    counts: Mapping[EventKind, int],
    lasts: Mapping[EventKind, int],
    archived: Mapping[EventKind, int],
    start: int,
) -> None:
    """Compare the counters of events by name with the events. Raises DamageError.

    ``archived`` has the counts until ``start``; the last positions until there are unknown.
    """
    stored = {tuple(row[:3]): tuple(row[3:]) for row in rows}
    all_lasts = {kind: min(last, start) for kind, (_, last) in stored.items()} | dict(lasts)
    all_counts = Counter(counts) + Counter(archived)
    expected = {kind: (count, all_lasts.get(kind, 0)) for kind, count in all_counts.items()}
    for kind in sorted(stored.keys() | expected.keys()):
        if stored.get(kind) != expected.get(kind):
            is_, was = stored.get(kind, (0, 0)), expected.get(kind, (0, 0))
            reason = f"ledger.name has {is_[0]} {'/'.join(kind)}, last {is_[1]}; the log has {was[0]}, last {was[1]}"
            raise DamageError("miscounted", "event", was[1] or is_[1], reason)


def check_connections(
    rows: list[asyncpg.Record], ordinals: Mapping[tuple[str, int], int], *, is_whole_log: bool
) -> None:
    """Compare the last ordinals of connections with the events. Raises DamageError.

    Connections without events in the log are checked only if nothing was archived.
    """
    stored = {(row[0], row[1]): row[2] for row in rows}
    for writer in sorted(stored.keys() | ordinals.keys()):
        is_, was = stored.get(writer), ordinals.get(writer)
        if is_ != was and (was is not None or (is_ and is_whole_log)):
            reason = f"ledger.connection has {is_} for {writer[0]}/{writer[1]}, the log {was}"
            raise DamageError("miscounted", "ordinal", was or is_ or 0, reason)
