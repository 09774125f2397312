"""Saved states and checkpoints that an archive or a redaction has made stale: deleted, or rewritten."""

from collections.abc import Callable, Sequence

import asyncpg

# Pinned by a command that died: after a later redaction they may differ from a fold of the log.
DELETE_PINNED_AFTER = "DELETE FROM ledger.saved WHERE kept AND position > $1"
# No fold can start from a state before the start of the log.
DELETE_BEFORE = "DELETE FROM ledger.saved WHERE position < $1"
DELETE_ORPHANS = """
DELETE FROM ledger.saved_rows r WHERE NOT EXISTS (
    SELECT FROM ledger.saved s
    WHERE (s.model, s.version, s.changed) = (r.model, r.version, r.changed))
"""
# No code has version 0: the next projector builds another table beside this one, and swaps it in.
OUTDATE = "UPDATE ledger.checkpoint SET version = 0 WHERE model IN (SELECT model FROM ledger.stale)"
DELETE_REJECTED = "DELETE FROM ledger.unfit WHERE model IN (SELECT model FROM ledger.stale)"
DELETE_SAVED = """
DELETE FROM ledger.saved s USING ledger.stale t WHERE s.model = t.model AND s.position >= t.first AND NOT s.kept
"""
DELETE_SAVED_ROWS = """
DELETE FROM ledger.saved_rows r USING ledger.stale t
WHERE r.model = t.model AND r.changed >= t.first AND NOT EXISTS (
    SELECT FROM ledger.saved s WHERE (s.model, s.version, s.changed) = (r.model, r.version, r.changed) AND s.kept)
"""
# A pinned state may be all that is left of an archived log: it cannot be folded again, so it is rewritten.
MATCHING_STATES = """
SELECT model, version, position, state::text FROM ledger.saved
WHERE convert_to(state::text, 'UTF8') LIKE ANY ($1::bytea[])
"""
MATCHING_ROWS = """
SELECT model, version, changed, part, rows::text FROM ledger.saved_rows
WHERE convert_to(rows::text, 'UTF8') LIKE ANY ($1::bytea[])
"""
REWRITE_STATE = """
UPDATE ledger.saved SET state = $4::text::jsonb WHERE (model, version, position) = ($1, $2, $3)
"""
REWRITE_ROWS = """
UPDATE ledger.saved_rows SET rows = $5::text::json WHERE (model, version, changed, part) = ($1, $2, $3, $4)
"""


async def delete_pinned_after(connection: asyncpg.Connection, position: int) -> None:
    """Delete the pinned states after ``position``, the end of the last archive."""
    await connection.execute(DELETE_PINNED_AFTER, position)


async def delete_before(connection: asyncpg.Connection, position: int) -> None:
    """Delete the states before ``position``, the start of the log, and rows without a state."""
    await connection.execute(DELETE_BEFORE, position)
    await connection.execute(DELETE_ORPHANS)


async def discard_stale(connection: asyncpg.Connection) -> None:
    """Let the models in ``ledger.stale`` be rebuilt, and delete their rejected events and saved states."""
    for statement in (OUTDATE, DELETE_REJECTED, DELETE_SAVED, DELETE_SAVED_ROWS):
        await connection.execute(statement)


async def rewrite_pinned(
    connection: asyncpg.Connection, patterns: Sequence[bytes], rewrite: Callable[[str], str]
) -> None:
    """Rewrite the JSON of all saved states and rows that match one of ``patterns`` (LIKE)."""
    for matching, update in ((MATCHING_STATES, REWRITE_STATE), (MATCHING_ROWS, REWRITE_ROWS)):
        for *key, text in await connection.fetch(matching, patterns):
            await connection.execute(update, *key, rewrite(text))
