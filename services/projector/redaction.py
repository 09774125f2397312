"""The projector's stored data that may contain redacted text, and how a redaction discards it."""

from collections.abc import Sequence

import asyncpg

from services.projector.stale_states import discard_stale

TABLES = ("ledger.checkpoint", "ledger.unfit", "ledger.saved", "ledger.saved_rows")

STALE = "SELECT model FROM ledger.stale JOIN ledger.checkpoint USING (model) WHERE place = 'model'"
# No program has version 0, so the next projector builds another table and swaps it in.
OUTDATED = "SELECT model FROM ledger.checkpoint WHERE version = 0 AND place = 'model'"
MARK = "INSERT INTO ledger.stale SELECT unnest($1::text[]), 1 ON CONFLICT DO NOTHING"
UNMARK = "DELETE FROM ledger.stale"
MODEL_STATES = "SELECT model, state::text FROM ledger.checkpoint WHERE place = 'model'"
UNFIT = "SELECT DISTINCT model, error FROM ledger.unfit"
SAVED = """
SELECT model, state::text FROM ledger.saved WHERE convert_to(state::text, 'UTF8') LIKE ANY ($1::bytea[])
UNION ALL
SELECT model, rows::text FROM ledger.saved_rows WHERE convert_to(rows::text, 'UTF8') LIKE ANY ($1::bytea[])
"""


async def stale_models(connection: asyncpg.Connection) -> list[str]:
    """Return the models that have folded redacted events, and have not been rebuilt since."""
    rows = [*await connection.fetch(STALE), *await connection.fetch(OUTDATED)]
    return sorted({row[0] for row in rows})


async def model_states(connection: asyncpg.Connection) -> dict[str, str]:
    """Return the states of the served models as JSON."""
    return dict(await connection.fetch(MODEL_STATES))


async def unfit_errors(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return (model, error) of all events that a model could not fold."""
    rows: list[asyncpg.Record] = await connection.fetch(UNFIT)
    return rows


async def saved_texts(connection: asyncpg.Connection, patterns: Sequence[bytes]) -> list[asyncpg.Record]:
    """Return (model, JSON) of all saved states and rows that match one of the LIKE patterns."""
    rows: list[asyncpg.Record] = await connection.fetch(SAVED, patterns)
    return rows


async def discard(connection: asyncpg.Connection, models: Sequence[str]) -> None:
    """Mark these models as stale; let the next projector rebuild all stale ones, and delete their saved states."""
    await connection.execute(MARK, models)
    await discard_stale(connection)


async def clear_marks(connection: asyncpg.Connection) -> None:
    """Delete the marks of stale models."""
    await connection.execute(UNMARK)
