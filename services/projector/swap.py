"""How the tables of read models come and go: made, built beside the served one, put in its place, given up."""

from collections.abc import Sequence

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import ReadModel
from services.database.locks import Channel
from services.log import archives as edge
from services.log.archives import Begun
from services.projector.cursor import ModelCursor, Place, blaming
from services.projector.table import Table

ENTER = """
INSERT INTO ledger.checkpoint (model, place, version, swaps)
SELECT $1, $2, $3, coalesce(max(swaps) + 1, 0) FROM ledger.checkpoint WHERE model = $1 AND place = 'model'
"""
BEGIN = "UPDATE ledger.checkpoint SET position = $3, at = $4, changed = $5, state = $6 WHERE model = $1 AND place = $2"
BARRED = "UPDATE ledger.checkpoint SET error = $2 WHERE model = $1 AND place = 'model'"
LEAVE = "DELETE FROM ledger.checkpoint WHERE model = $1 AND place = $2"
FORGET = "DELETE FROM ledger.unfit WHERE model = $1 AND place = $2"
ENDED = "UPDATE ledger.rebuild SET ended = now(), position = $2, error = $3 WHERE model = $1 AND ended IS NULL"
# Who waits for this lock holds up all who come later; those who look at the views need milliseconds.
ALONE = "SET LOCAL lock_timeout = '100ms'; LOCK TABLE ledger.checkpoint IN ACCESS EXCLUSIVE MODE"
SERVED = "SELECT model, position FROM ledger.checkpoint WHERE place = 'model' AND model = ANY($1::text[])"
SERVE = "UPDATE ledger.checkpoint SET place = 'model', changed = position WHERE model = $1 AND place = 'rebuild'"
SERVE_UNFIT = "UPDATE ledger.unfit SET place = 'model' WHERE model = $1 AND place = 'rebuild'"
NOTIFY = f"SELECT pg_notify('{Channel.MODELS}', $1)"


class Swapped(Struct):
    """Which are served now, and which are not, for the served table had come further (where, by model)."""

    served: list[ModelCursor]
    behind: list[ModelCursor]
    positions: dict[str, int]


def news(position: int, changed: Sequence[str]) -> str:
    """Return what is told on the channel ``ringledger_model``."""
    return msgspec.json.encode({"position": position, "changed": changed}).decode()


async def enter(connection: asyncpg.Connection, model: ReadModel, place: Place) -> Begun:
    """Make a model's table, with a checkpoint where the log begins, and what was kept there in it.

    Raises UnkeptError; nothing has changed.
    """
    table = Table(model, place)
    async with connection.transaction():
        await connection.execute(table.create)
        # Who archives locks the checkpoints: what is read after this is so until we are through.
        await connection.execute(ENTER, model.name, place, model.version)
        begun = await edge.begun(connection, model)
        if begun.position:
            await edge.fill(connection, table, begun.rows)
            state = msgspec.to_builtins(begun.state)
            await connection.execute(BEGIN, model.name, place, begun.position, begun.latest, begun.changed, state)
    return begun


async def bar(connection: asyncpg.Connection, model: ReadModel, place: Place, error: str) -> None:
    """Write down that a model cannot begin; where it has no table it gets an empty one, for views to find."""
    async with connection.transaction():
        if place == "model":
            await connection.execute(Table(model, place).create)
            await connection.execute(ENTER, model.name, place, model.version)
        await connection.execute(BARRED, model.name, error)
        await ended(connection, model.name, None, error)


async def discard(connection: asyncpg.Connection, model: ReadModel) -> None:
    """Give up what has been rebuilt of a model, if anything has."""
    async with connection.transaction():
        await connection.execute(f"DROP TABLE IF EXISTS {Table(model, 'rebuild').name}")
        await connection.execute(LEAVE, model.name, "rebuild")
        await connection.execute(FORGET, model.name, "rebuild")


async def ended(connection: asyncpg.Connection, name: str, position: int | None, error: str | None = None) -> None:
    """Write down what came of a wish for a rebuild, if there was one."""
    await connection.execute(ENDED, name, position, error)


async def swap(connection: asyncpg.Connection, rebuilt: Sequence[ModelCursor]) -> Swapped:
    """Put rebuilt tables in the place of those served, all in one transaction.

    It waits for those who look at the views (`database.snapshot`), so that nobody sees one table from before and
    another from after, but not long. Raises asyncpg.LockNotAvailableError then, and StoppedError for the model whose
    table cannot be served; nothing has changed.
    """
    async with connection.transaction():
        await connection.execute(ALONE)
        positions = dict(await connection.fetch(SERVED, [f.model.name for f in rebuilt]))
        # A view never goes back.
        behind = [f for f in rebuilt if f.position < positions.get(f.model.name, 0)]
        ready = [f for f in rebuilt if f not in behind]
        for follower in ready:
            with blaming(follower, f"serving it at {follower.position}"):
                await _serve(connection, follower)
        if ready:
            await connection.execute(NOTIFY, news(ready[0].position, [f.model.name for f in ready]))
    return Swapped(ready, behind, positions)


async def _serve(connection: asyncpg.Connection, follower: ModelCursor) -> None:
    name = follower.model.name
    await connection.execute(f"DROP TABLE IF EXISTS {Table(follower.model, 'model').name}")
    await connection.execute(f"ALTER TABLE {follower.table.name} SET SCHEMA model")
    await connection.execute(LEAVE, name, "model")
    await connection.execute(SERVE, name)
    await connection.execute(FORGET, name, "model")
    await connection.execute(SERVE_UNFIT, name)
    await ended(connection, name, follower.position)
