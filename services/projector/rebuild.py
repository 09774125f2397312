"""``ringledger rebuild``: read models folded anew beside the ones that are served, and swapped in.

The work is the projector's. The command writes down what is wanted (``ledger.rebuild``), and looks on. It runs a
projector of its own meanwhile: that stands by while another one runs, does the work when none does, and takes over
when the other one dies. What has been asked for stays so whatever becomes of the command: the projector need not be
told of a change of mind, a second command is the same as waiting on, and nobody is any the worse for it.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from projections import ALL
from projections.engine.model import ReadModel
from services.database import connection as database
from services.database import faults
from services.database.faults import explained
from services.database.locks import Channel
from services.log import append as log
from services.log import archives as edge
from services.log.archives import ArchivedError
from services.projector.process import project
from services.runtime.progress import Bar

POLL_SECONDS = 0.25

SERVED = "SELECT model, position FROM ledger.checkpoint WHERE place = 'model' AND model = ANY($1::text[])"
ASK = """
INSERT INTO ledger.rebuild (model, upto) SELECT unnest($1::text[]), $2::bigint
ON CONFLICT (model) WHERE ended IS NULL DO NOTHING
"""
WANTED = "SELECT number, model, upto FROM ledger.rebuild WHERE ended IS NULL AND model = ANY($1::text[])"
NOTIFY = f"SELECT pg_notify('{Channel.REBUILD}', '')"
STATE = """
SELECT r.model, r.ended IS NOT NULL AS ended, r.position, r.error, m.position AS served, m.error AS stopped,
       b.position AS built
FROM ledger.rebuild r
LEFT JOIN ledger.checkpoint m ON m.model = r.model AND m.place = 'model'
LEFT JOIN ledger.checkpoint b ON b.model = r.model AND b.place = 'rebuild'
WHERE r.number = ANY($1::bigint[]) ORDER BY r.model
"""

OUTDATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


class RebuildError(Exception):
    """It cannot be done; the message says why. With ``code`` 2 nothing has changed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Outcome(Struct, frozen=True):
    """What was done and what was not, a line each, and the exit code."""

    code: int
    done: list[str]
    failed: list[str]


def chosen(names: Sequence[str]) -> list[ReadModel]:
    """Return the models of these names, all for none. Raises RebuildError."""
    known = {model.name: model for model in ALL}
    if unknown := [name for name in names if name not in known]:
        raise RebuildError(f"no read model {', '.join(unknown)} (there are {', '.join(known)})")
    return [known[name] for name in dict.fromkeys(names)] or list(ALL)


async def opened(url: str) -> asyncpg.Connection:
    """Connect. Raises RebuildError."""
    try:
        return await database.connect(url, search_path="model, ledger")
    except faults.ANY as error:
        raise RebuildError(explained(error), 1) from None


async def rebuild(url: str, models: Sequence[ReadModel], upto: int | None, stop: asyncio.Event) -> Outcome:
    """Have models folded anew, up to position ``upto`` or as far as the log goes; return when they are served.

    When ``stop`` is set first, it returns at once, and the rebuild goes on without us. Raises RebuildError.
    """
    began = time.monotonic()
    connection = await opened(url)
    done, holding = asyncio.Event(), asyncio.Event()
    try:
        numbers, target = await _ask(connection, models, upto)
        own = asyncio.create_task(project(url, done, holding, {m.name: upto for m in models} if upto else None))
        try:
            rows = await _follow(connection, numbers, target, stop, own)
            here = holding.is_set()
        finally:
            done.set()
            await own
    except OUTDATED:
        raise RebuildError("the database is not of this version: `ringledger migrate` brings it up to date") from None
    except database.UNREACHABLE as error:
        raise RebuildError(f"the rebuild goes on when PostgreSQL is back: {explained(error)}", 1) from None
    finally:
        connection.terminate()
    return _outcome(rows, target, here=here, seconds=time.monotonic() - began)


async def _ask(connection: asyncpg.Connection, models: Sequence[ReadModel], upto: int | None) -> tuple[list[int], int]:
    """Write down what is wanted; return its numbers, and the position that the models are to reach."""
    names = [model.name for model in models]
    async with connection.transaction():
        head = await log.head(connection)
        if upto is not None and upto > head:
            raise RebuildError(f"--to {upto}: the log ends at {head}")
        archived = await edge.read(connection)
        if upto is not None and upto < archived.position and (archive := archived.holding(upto)) is not None:
            raise RebuildError(f"--to {upto}: {ArchivedError('it', archive)}")
        for name, position in await connection.fetch(SERVED, names):
            if upto is not None and position > upto:
                raise RebuildError(f"--to {upto} would take {name} back: it is served at {position}")
        await connection.execute(ASK, names, upto)
        wanted = await connection.fetch(WANTED, names)
        for row in wanted:
            if row["upto"] != upto:
                end = f"up to {row['upto']}" if row["upto"] else "as far as the log goes"
                raise RebuildError(f"{row['model']} is being rebuilt already, {end}")
        await connection.execute(NOTIFY)
    return [row["number"] for row in wanted], upto or head


async def _follow(
    connection: asyncpg.Connection, numbers: list[int], target: int, stop: asyncio.Event, own: asyncio.Task[None]
) -> list[asyncpg.Record]:
    """Look on until all are served at ``target`` or have failed, or until ``stop``; return what there is then."""
    with Bar("rebuilding") as bar:
        while True:
            rows: list[asyncpg.Record] = await connection.fetch(STATE, numbers)
            if stop.is_set() or all(_over(row, target) for row in rows):
                return rows
            bar.show(min(row["built"] or (row["ended"] and row["served"]) or 0 for row in rows), target)
            if own.done():
                await own  # raises what it died of
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()


def _over(row: asyncpg.Record, target: int) -> bool:
    """Tell whether no more is to be expected; a model may be swapped in, or made, before it has reached the target."""
    return row["ended"] and bool(row["error"] or row["stopped"] or row["served"] >= target)


def _outcome(rows: list[asyncpg.Record], target: int, *, here: bool, seconds: float) -> Outcome:
    served: dict[int, list[str]] = {}
    failed: list[str] = []
    waiting: list[asyncpg.Record] = []
    for row in rows:
        if not _over(row, target):
            waiting.append(row)
        elif row["error"]:
            failed.append(f"{row['model']} was not rebuilt, and is served as it was: {row['error']}")
        elif row["served"] < target:
            failed.append(f"{row['model']} was rebuilt, and has stopped since: {row['stopped']}")
        else:
            served.setdefault(row["position"] or row["served"], []).append(row["model"])
    by = "by this command, for no projector runs" if here else "by the projector that runs"
    done = [
        f"rebuilt {_named(names)}: served from position {at} on ({seconds:.1f} s, {by})"
        for at, names in sorted(served.items())
    ]
    if waiting:
        at = min(row["built"] or row["served"] or 0 for row in waiting)
        goes_on = "when a projector runs, or with this command again" if here else "in the projector that runs"
        names = _named([row["model"] for row in waiting])
        failed.append(f"not waiting for {names} (at {at} of {target}): the rebuild goes on {goes_on}")
    return Outcome(130 if waiting else 1 if failed else 0, done, failed)


def _named(names: list[str]) -> str:
    return f"all {len(ALL)} read models" if len(names) == len(ALL) else ", ".join(names)
