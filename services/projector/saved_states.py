"""Saved states: the state and rows of read models at a position, so that a fold need not start at the first event.

The projector saves every `SAVE_INTERVAL` positions, in the transaction that writes the checkpoint. A saved state is
valid for its model's version only. It may always be deleted: a fold then starts at an earlier one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import ReadModel, Row
from projections.engine.state import FoldState
from services.projector.table import Table

SAVE_INTERVAL = 25_000
"""A view folds this number of events in at most 0.15 s. Saving is a twentieth of a loaded projector's work."""
THIN_AFTER = timedelta(days=31)
THIN_FACTOR = 16
"""One state in this number remains of those older than `THIN_AFTER`."""
THIN_INTERVAL = 64 * SAVE_INTERVAL
PART_ROWS = 5_000
"""Rows in one row of ``ledger.saved_rows``."""

LATEST_STATE = """
WITH before AS (SELECT position, latest FROM ledger.saved WHERE position <= $1 ORDER BY position DESC LIMIT 1)
SELECT greatest((SELECT latest FROM before),
                (SELECT latest FROM ledger.archive WHERE last <= $1 ORDER BY last DESC LIMIT 1),
                (SELECT max(recorded) FROM ledger.event
                 WHERE position > coalesce((SELECT position FROM before), 0) AND position <= $1))
"""
SAVE = """
INSERT INTO ledger.saved AS s (model, version, position, latest, changed, state, whole)
SELECT c.model, c.version, c.position, $1, c.changed, c.state, n.whole
FROM ledger.checkpoint c
JOIN unnest($2::text[], $3::text[], $4::boolean[]) AS n (model, place, whole) USING (model, place)
ON CONFLICT (model, version, position) DO UPDATE
    SET latest = excluded.latest, changed = excluded.changed, state = excluded.state, whole = s.whole OR excluded.whole
RETURNING model, version, changed, EXISTS (
    SELECT FROM ledger.saved_rows r WHERE r.model = s.model AND r.version = s.version AND r.changed = s.changed
) AS there
"""
# row_to_json writes times in the session's zone; they are read back as UTC.
UTC = "SELECT set_config('TimeZone', 'UTC', true)"
PIN = """
INSERT INTO ledger.saved AS s (model, version, position, latest, changed, state, whole, kept)
VALUES ($1, $2, $3, $4, $5, $6, true, true)
ON CONFLICT (model, version, position) DO UPDATE
    SET latest = excluded.latest, changed = excluded.changed, state = excluded.state, whole = true, kept = true
"""
PIN_ROWS = "INSERT INTO ledger.saved_rows (model, version, changed, part, rows) VALUES ($1, $2, $3, $4, $5)"
DELETE_ROWS = "DELETE FROM ledger.saved_rows WHERE model = $1 AND version = $2 AND changed = $3"
THIN = """
DELETE FROM ledger.saved s USING (
    SELECT model, version, position, latest < $1 AND row_number() OVER w > 1 AS surplus
    FROM ledger.saved
    WINDOW w AS (PARTITION BY model, version, position / $2 ORDER BY position)
) AS n
WHERE (s.model, s.version, s.position) = (n.model, n.version, n.position) AND NOT s.kept
  AND (n.surplus OR NOT EXISTS (SELECT FROM ledger.checkpoint c WHERE c.model = s.model AND c.version = s.version))
RETURNING s.model, s.version, s.changed
"""
DELETE_FROM = """
DELETE FROM ledger.saved s USING unnest($1::text[], $2::int[]) AS n (model, version)
WHERE s.model = n.model AND s.version = n.version AND s.position >= $3 AND NOT s.kept
RETURNING s.model, s.version, s.changed
"""
DELETE_ORPHANS = """
DELETE FROM ledger.saved_rows r USING unnest($1::text[], $2::int[], $3::bigint[]) AS n (model, version, changed)
WHERE (r.model, r.version, r.changed) = (n.model, n.version, n.changed)
  AND NOT EXISTS (SELECT FROM ledger.saved s
                  WHERE s.model = r.model AND s.version = r.version AND s.changed = r.changed)
"""
NEAREST = """
SELECT position, latest, changed, state FROM ledger.saved
WHERE model = $1 AND version = $2 AND (whole OR $5) AND position <= $3 AND ($4::timestamptz IS NULL OR latest <= $4)
ORDER BY position DESC LIMIT 1
"""
ROWS = "SELECT rows FROM ledger.saved_rows WHERE model = $1 AND version = $2 AND changed = $3 ORDER BY part"


class SavedState(Struct, frozen=True):
    """The state of a model at ``position``; `rows_of` reads its rows.

    ``latest`` is the greatest recording time of all events up to there (`latest_recorded`), ``changed`` the position of
    the last event that changed a row.
    """

    model: ReadModel
    position: int
    latest: datetime
    changed: int
    state: FoldState


def is_due(before: int, position: int) -> bool:
    """Return whether a projector that went from position ``before`` to ``position`` must save."""
    return position // SAVE_INTERVAL > before // SAVE_INTERVAL


async def save(connection: asyncpg.Connection, tables: Sequence[Table], position: int) -> None:
    """Save the rows of these tables, in the transaction that has set their checkpoints to ``position``.

    For models that are not ``is_state`` only the `State` is saved, and the open rows of a machine. Every
    `THIN_INTERVAL` old states are thinned out.
    """
    latest = await latest_recorded(connection, position)
    rebuilt = [t for t in tables if t.schema == "rebuild"]
    if rebuilt:
        # A table is rebuilt because the rows of the old one, and its saved states, may be wrong.
        names, versions = [t.model.name for t in rebuilt], [t.model.version for t in rebuilt]
        await _delete_orphans(
            connection, await connection.fetch(DELETE_FROM, names, versions, position // SAVE_INTERVAL * SAVE_INTERVAL)
        )
    schemas, is_whole = [t.schema for t in tables], [t.model.is_state for t in tables]
    saved = await connection.fetch(SAVE, latest, [t.model.name for t in tables], schemas, is_whole)
    to_save = {(t.model.name, t.model.version): t for t in tables if t.model.is_state or t.model.machine}
    await connection.execute(UTC)
    for name, version, changed, exists in saved:
        table = to_save.get((name, version))
        # A table that no event has changed, and no initial state has filled, is empty: most models of most PBXes.
        if table is not None and changed and not exists:
            await connection.execute(table.save, name, version, changed, PART_ROWS)
    if saved and position // THIN_INTERVAL > (position - SAVE_INTERVAL) // THIN_INTERVAL:
        await thin(connection, latest)


async def pin(connection: asyncpg.Connection, saved: SavedState, rows: Sequence[Row]) -> None:
    """Save a state that was folded in memory, with the rows of any model; it is never thinned out."""
    model = saved.model
    key = (model.name, model.version, saved.changed)
    async with connection.transaction():
        state = msgspec.to_builtins(saved.state)
        await connection.execute(PIN, *key[:2], saved.position, saved.latest, saved.changed, state)
        await connection.execute(DELETE_ROWS, *key)
        for part, start in enumerate(range(0, len(rows), PART_ROWS)):
            text = msgspec.json.encode(rows[start : start + PART_ROWS]).decode()
            await connection.execute(PIN_ROWS, *key, part, text)


async def thin(connection: asyncpg.Connection, latest: datetime) -> None:
    """Delete states of versions that are not current, and most old states; ``latest`` is that of the newest state."""
    await _delete_orphans(connection, await connection.fetch(THIN, latest - THIN_AFTER, THIN_FACTOR * SAVE_INTERVAL))


async def _delete_orphans(connection: asyncpg.Connection, deleted: list[asyncpg.Record]) -> None:
    if deleted:
        await connection.execute(DELETE_ORPHANS, *map(list, zip(*deleted, strict=True)))


async def latest_recorded(connection: asyncpg.Connection, position: int) -> datetime:
    """Return the greatest recording time of all events up to ``position``."""
    latest: datetime = await connection.fetchval(LATEST_STATE, position)
    return latest


async def nearest(
    connection: asyncpg.Connection,
    model: ReadModel,
    position: int,
    until: datetime | None = None,
    *,
    lacks_ended: bool = False,
) -> SavedState | None:
    """Return the last saved state up to ``position`` without any event that was recorded after ``until``.

    With ``lacks_ended`` it may have the open rows alone.
    """
    row = await connection.fetchrow(NEAREST, model.name, model.version, position, until, lacks_ended)
    if row is None:
        return None
    return SavedState(model, row["position"], row["latest"], row["changed"], msgspec.convert(row["state"], FoldState))


async def rows_of(connection: asyncpg.Connection, saved: SavedState) -> list[Any]:
    """Return the rows of a saved state; outside the REPEATABLE READ transaction of `nearest` they may be deleted."""
    model = saved.model
    parts = await connection.fetch(ROWS, model.name, model.version, saved.changed)
    return [row for (text,) in parts for row in msgspec.json.decode(text, type=list[model.row])]  # type: ignore[name-defined]
