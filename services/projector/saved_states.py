"""Saved states: what read models held at a position, so that nobody who folds must begin with the first event.

The projector saves every `EVERY` positions, in the transaction that writes the checkpoint. A state holds for its
model's version only, and may always be deleted: what begins there then begins earlier.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import ReadModel, Row
from projections.engine.state import State
from services.projector.table import Table

EVERY = 25_000
"""Folding so many takes at most 0.15 s for a view, and saving so often is a twentieth of a loaded projector's work."""
THINNED_AFTER = timedelta(days=31)
THINNED = 16
"""Of states older than that, one in so many is left."""
THIN_EVERY = 64 * EVERY
PART = 5_000

LATEST = """
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
# row_to_json writes times as the session's zone has it; they are read back as UTC.
UTC = "SELECT set_config('TimeZone', 'UTC', true)"
KEEP = """
INSERT INTO ledger.saved AS s (model, version, position, latest, changed, state, whole, kept)
VALUES ($1, $2, $3, $4, $5, $6, true, true)
ON CONFLICT (model, version, position) DO UPDATE
    SET latest = excluded.latest, changed = excluded.changed, state = excluded.state, whole = true, kept = true
"""
KEEP_ROWS = "INSERT INTO ledger.saved_rows (model, version, changed, part, rows) VALUES ($1, $2, $3, $4, $5)"
DROP_ROWS = "DELETE FROM ledger.saved_rows WHERE model = $1 AND version = $2 AND changed = $3"
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
REPLACE = """
DELETE FROM ledger.saved s USING unnest($1::text[], $2::int[]) AS n (model, version)
WHERE s.model = n.model AND s.version = n.version AND s.position >= $3 AND NOT s.kept
RETURNING s.model, s.version, s.changed
"""
ORPHANS = """
DELETE FROM ledger.saved_rows r USING unnest($1::text[], $2::int[], $3::bigint[]) AS n (model, version, changed)
WHERE (r.model, r.version, r.changed) = (n.model, n.version, n.changed)
  AND NOT EXISTS (SELECT FROM ledger.saved s
                  WHERE s.model = r.model AND s.version = r.version AND s.changed = r.changed AND s.whole)
"""
NEAREST = """
SELECT position, latest, changed, state FROM ledger.saved
WHERE model = $1 AND version = $2 AND whole AND position <= $3 AND ($4::timestamptz IS NULL OR latest <= $4)
ORDER BY position DESC LIMIT 1
"""
ROWS = "SELECT rows FROM ledger.saved_rows WHERE model = $1 AND version = $2 AND changed = $3 ORDER BY part"


class Saved(Struct, frozen=True):
    """What a model held at ``position``; its rows are read by `rows_of`.

    ``latest`` is the greatest time of recording of all events up to there (`latest_of`), ``changed`` the last event
    that changed a row.
    """

    model: ReadModel
    position: int
    latest: datetime
    changed: int
    state: State


def due(behind: int, position: int) -> bool:
    """Tell whether who has gone from ``behind`` to ``position`` should save."""
    return position // EVERY > behind // EVERY


async def save(connection: asyncpg.Connection, tables: Sequence[Table], position: int) -> None:
    """Save what these tables hold, in the transaction that has set their checkpoints to ``position``.

    Of models that are not live only the `State` is saved. Now and then old states are thinned out.
    """
    latest = await latest_of(connection, position)
    rebuilt = [t for t in tables if t.schema == "rebuild"]
    if rebuilt:
        # A table is rebuilt because what the other one held, and what was saved of it, may be wrong.
        names, versions = [t.model.name for t in rebuilt], [t.model.version for t in rebuilt]
        await _forget(connection, await connection.fetch(REPLACE, names, versions, position // EVERY * EVERY))
    places, live = [t.schema for t in tables], [t.model.is_state for t in tables]
    entered = await connection.fetch(SAVE, latest, [t.model.name for t in tables], places, live)
    found = {(t.model.name, t.model.version): t for t in tables if t.model.is_state}
    await connection.execute(UTC)
    for name, version, changed, there in entered:
        table = found.get((name, version))
        if table is not None and not there:
            await connection.execute(table.save, name, version, changed, PART)
    if entered and position // THIN_EVERY > (position - EVERY) // THIN_EVERY:
        await thin(connection, latest)


async def keep(connection: asyncpg.Connection, saved: Saved, rows: Sequence[Row]) -> None:
    """Save what somebody has folded in memory, rows of models that are not live too; it is never thinned out."""
    model = saved.model
    place = (model.name, model.version, saved.changed)
    async with connection.transaction():
        state = msgspec.to_builtins(saved.state)
        await connection.execute(KEEP, *place[:2], saved.position, saved.latest, saved.changed, state)
        await connection.execute(DROP_ROWS, *place)
        for part, start in enumerate(range(0, len(rows), PART)):
            text = msgspec.json.encode(rows[start : start + PART]).decode()
            await connection.execute(KEEP_ROWS, *place, part, text)


async def thin(connection: asyncpg.Connection, latest: datetime) -> None:
    """Delete what is of no current version, and most of what is old; ``latest`` is the newest state's."""
    await _forget(connection, await connection.fetch(THIN, latest - THINNED_AFTER, THINNED * EVERY))


async def _forget(connection: asyncpg.Connection, gone: list[asyncpg.Record]) -> None:
    if gone:
        await connection.execute(ORPHANS, *map(list, zip(*gone, strict=True)))


async def latest_of(connection: asyncpg.Connection, position: int) -> datetime:
    """Return the greatest time of recording of all events up to ``position``."""
    latest: datetime = await connection.fetchval(LATEST, position)
    return latest


async def nearest(
    connection: asyncpg.Connection, model: ReadModel, position: int, until: datetime | None = None
) -> Saved | None:
    """Return the last state that was saved up to ``position``, and holds nothing that was recorded after ``until``."""
    row = await connection.fetchrow(NEAREST, model.name, model.version, position, until)
    if row is None:
        return None
    return Saved(model, row["position"], row["latest"], row["changed"], msgspec.convert(row["state"], State))


async def rows_of(connection: asyncpg.Connection, saved: Saved) -> list[Any]:
    """Return the rows; ask in the transaction of `nearest` (REPEATABLE READ), or they may be gone."""
    model = saved.model
    parts = await connection.fetch(ROWS, model.name, model.version, saved.changed)
    return [row for (text,) in parts for row in msgspec.json.decode(text, type=list[model.row])]  # type: ignore[name-defined]
