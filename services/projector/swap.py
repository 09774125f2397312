"""Creates the tables of read models, builds new ones beside those that are served, and swaps or drops them."""

from collections.abc import Sequence

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import ReadModel
from services.database.notify import NotifyChannel
from services.projector.cursor import ModelCursor, Schema, stopping_model
from services.projector.initial_state import InitialState, fill_table, read_initial_state
from services.projector.table import Table, derived_comment

INSERT_CHECKPOINT = """
INSERT INTO ledger.checkpoint (model, place, version, swaps)
SELECT $1, $2, $3, coalesce(max(swaps) + 1, 0) FROM ledger.checkpoint WHERE model = $1 AND place = 'model'
"""
SET_CHECKPOINT = """
UPDATE ledger.checkpoint SET position = $3, at = $4, changed = $5, state = $6 WHERE model = $1 AND place = $2
"""
SET_ERROR = "UPDATE ledger.checkpoint SET error = $2 WHERE model = $1 AND place = 'model'"
DELETE_CHECKPOINT = "DELETE FROM ledger.checkpoint WHERE model = $1 AND place = $2"
DELETE_REJECTED = "DELETE FROM ledger.unfit WHERE model = $1 AND place = $2"
END_REBUILD = "UPDATE ledger.rebuild SET ended = now(), position = $2, error = $3 WHERE model = $1 AND ended IS NULL"
# A transaction that waits for this lock blocks all later ones; readers of the views need only milliseconds.
LOCK_CHECKPOINTS = "SET LOCAL lock_timeout = '100ms'; LOCK TABLE ledger.checkpoint IN ACCESS EXCLUSIVE MODE"
SERVED_POSITIONS = "SELECT model, position FROM ledger.checkpoint WHERE place = 'model' AND model = ANY($1::text[])"
SERVE_CHECKPOINT = """
UPDATE ledger.checkpoint SET place = 'model', changed = position WHERE model = $1 AND place = 'rebuild'
"""
SERVE_REJECTED = "UPDATE ledger.unfit SET place = 'model' WHERE model = $1 AND place = 'rebuild'"
DERIVED = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = 0
WHERE d.classoid = 'pg_class'::regclass AND c.relkind = 'r' AND c.relnamespace = $1::text::regnamespace
  AND d.description = $2
"""
NOTIFY = f"SELECT pg_notify('{NotifyChannel.MODELS}', $1)"


class SwapResult(Struct):
    """The cursors of tables that are served now, and of those not swapped because the served table was ahead.

    ``positions`` are those of the served tables before, by model.
    """

    served: list[ModelCursor]
    behind: list[ModelCursor]
    positions: dict[str, int]


def notification(position: int, changed: Sequence[str]) -> str:
    """Return the payload of a notification on channel ``ringledger_model``; ``changed`` names the models."""
    return msgspec.json.encode({"position": position, "changed": changed}).decode()


async def create(connection: asyncpg.Connection, model: ReadModel, schema: Schema) -> InitialState:
    """Create a model's table at the start of the log, with the state and the rows that are saved there.

    Raises NoInitialStateError; nothing has changed then.
    """
    table = Table(model, schema)
    async with connection.transaction():
        await connection.execute(table.create)
        # `ringledger archive` locks the checkpoints, so the archives read after this stay as they are until the commit.
        await connection.execute(INSERT_CHECKPOINT, model.name, schema, model.version)
        initial = await read_initial_state(connection, model)
        if initial.position:
            await fill_table(connection, table, initial.rows)
            state = msgspec.to_builtins(initial.state)
            await connection.execute(
                SET_CHECKPOINT, model.name, schema, initial.position, initial.latest, initial.changed, state
            )
    return initial


async def block(connection: asyncpg.Connection, model: ReadModel, schema: Schema, error: str) -> None:
    """Record that a model has no state to start from; a model without a table gets an empty one for the views."""
    async with connection.transaction():
        if schema == "model":
            await connection.execute(Table(model, schema).create)
            await connection.execute(INSERT_CHECKPOINT, model.name, schema, model.version)
        await connection.execute(SET_ERROR, model.name, error)
        await end_rebuild(connection, model.name, None, error)


async def discard(connection: asyncpg.Connection, model: ReadModel) -> None:
    """Drop the table that is being rebuilt for a model, if there is one."""
    async with connection.transaction():
        await drop(connection, model.name, "rebuild")
        await connection.execute(DELETE_CHECKPOINT, model.name, "rebuild")
        await connection.execute(DELETE_REJECTED, model.name, "rebuild")


async def drop(connection: asyncpg.Connection, name: str, schema: Schema) -> None:
    """Drop a model's table and all that follow from it, also those that only another version had."""
    derived = [row[0] for row in await connection.fetch(DERIVED, schema, derived_comment(name))]
    await connection.execute(f"DROP TABLE IF EXISTS {', '.join([f'{schema}.{name}', *derived])}")


async def end_rebuild(
    connection: asyncpg.Connection, name: str, position: int | None, error: str | None = None
) -> None:
    """Record the outcome of the open rebuild request of a model, if there is one."""
    await connection.execute(END_REBUILD, name, position, error)


async def swap(connection: asyncpg.Connection, rebuilt: Sequence[ModelCursor]) -> SwapResult:
    """Serve rebuilt tables in place of the present ones, all in one transaction.

    It waits a moment for readers of the views (`connection.snapshot`), so that no reader sees one table from before and
    another from after. Raises asyncpg.LockNotAvailableError when readers take longer, and StoppedError for a model
    whose table cannot be served; nothing has changed then.
    """
    async with connection.transaction():
        await connection.execute(LOCK_CHECKPOINTS)
        positions = dict(await connection.fetch(SERVED_POSITIONS, [c.model.name for c in rebuilt]))
        # A view never goes back.
        behind = [c for c in rebuilt if c.position < positions.get(c.model.name, 0)]
        ready = [c for c in rebuilt if c not in behind]
        for cursor in ready:
            with stopping_model(cursor, f"serving it at {cursor.position}"):
                await _serve(connection, cursor)
        if ready:
            await connection.execute(NOTIFY, notification(ready[0].position, [c.model.name for c in ready]))
    return SwapResult(ready, behind, positions)


async def _serve(connection: asyncpg.Connection, cursor: ModelCursor) -> None:
    name = cursor.model.name
    await drop(connection, name, "model")
    for table in cursor.table.names:
        await connection.execute(f"ALTER TABLE {table} SET SCHEMA model")
    await connection.execute(DELETE_CHECKPOINT, name, "model")
    await connection.execute(SERVE_CHECKPOINT, name)
    await connection.execute(DELETE_REJECTED, name, "model")
    await connection.execute(SERVE_REJECTED, name)
    await end_rebuild(connection, name, cursor.position)
