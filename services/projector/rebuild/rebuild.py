"""``ringledger rebuild``: read models are folded again beside the served ones, and swapped in.

The projector does the work. The command records its request in ``ledger.rebuild`` and waits. Meanwhile it runs a
projector of its own, which stands by while another one runs, and works when none does or the other one dies.
Interrupting the command does not cancel the rebuild; running it again waits for the same one.
"""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from projections import ALL
from projections.engine.model import ReadModel
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS, NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.database.notify import NotifyChannel
from services.log.archives import ArchivedError, read_catalog
from services.log.read import head_position
from services.projector.process import project
from services.projector.swap import SERVED_POSITIONS
from services.runtime.progress import ProgressBar
from services.runtime.tasks import wait_event

POLL_SECONDS = 0.25

REQUEST = """
INSERT INTO ledger.rebuild (model, upto) SELECT unnest($1::text[]), $2::bigint
ON CONFLICT (model) WHERE ended IS NULL DO NOTHING
"""
REQUESTED = "SELECT number, model, upto FROM ledger.rebuild WHERE ended IS NULL AND model = ANY($1::text[])"
NOTIFY = f"SELECT pg_notify('{NotifyChannel.REBUILD}', '')"
STATE = """
SELECT r.model, r.ended IS NOT NULL AS ended, r.position, r.error, m.position AS served, m.error AS stopped,
       b.position AS built
FROM ledger.rebuild r
LEFT JOIN ledger.checkpoint m ON m.model = r.model AND m.place = 'model'
LEFT JOIN ledger.checkpoint b ON b.model = r.model AND b.place = 'rebuild'
WHERE r.number = ANY($1::bigint[]) ORDER BY r.model
"""


class RebuildError(Exception):
    """The rebuild is refused or failed; the message is the reason. With ``code`` 2 nothing has changed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class RebuildResult(Struct, frozen=True):
    """The exit code, a line for each success and a line for each failure."""

    code: int
    done: list[str]
    failed: list[str]


def models_named(names: Sequence[str]) -> list[ReadModel]:
    """Return the models with these names, or all models for an empty list. Raises RebuildError."""
    models = {model.name: model for model in ALL}
    if unknown := [name for name in names if name not in models]:
        raise RebuildError(f"no read model {', '.join(unknown)} (there are {', '.join(models)})")
    return [models[name] for name in dict.fromkeys(names)] or list(ALL)


async def connect_to_models(url: str) -> asyncpg.Connection:
    """Return a connection to the database. Raises RebuildError."""
    try:
        return await connect(url, search_path="model, ledger")
    except DATABASE_ERRORS as error:
        raise RebuildError(explain(error), 1) from None


async def rebuild(url: str, models: Sequence[ReadModel], until: int | None, stop: asyncio.Event) -> RebuildResult:
    """Rebuild models up to position ``until`` (None: the end of the log), and return when they are served.

    When ``stop`` is set, it returns at once, and a projector continues the rebuild. Raises RebuildError.
    """
    began = time.monotonic()
    connection = await connect_to_models(url)
    done, is_active = asyncio.Event(), asyncio.Event()
    try:
        numbers, target = await _request(connection, models, until)
        own = asyncio.create_task(project(url, done, is_active, {m.name: until for m in models} if until else None))
        try:
            rows = await _follow(connection, numbers, target, stop, own)
            here = is_active.is_set()
        finally:
            done.set()
            await own
    except NO_LEDGER:
        raise RebuildError(NO_LEDGER_MESSAGE) from None
    except UNREACHABLE as error:
        raise RebuildError(f"the rebuild continues when PostgreSQL is back: {explain(error)}", 1) from None
    finally:
        connection.terminate()
    return _outcome(rows, target, here=here, seconds=time.monotonic() - began)


async def _request(
    connection: asyncpg.Connection, models: Sequence[ReadModel], until: int | None
) -> tuple[list[int], int]:
    """Record the requests; return their numbers, and the position that the models must reach."""
    names = [model.name for model in models]
    async with connection.transaction():
        head = await head_position(connection)
        if until is not None and until > head:
            raise RebuildError(f"--to {until}: the log ends at {head}")
        archived = await read_catalog(connection)
        if until is not None and until < archived.position and (archive := archived.archive_of(until)) is not None:
            raise RebuildError(f"--to {until}: {ArchivedError('it', archive)}")
        for name, position in await connection.fetch(SERVED_POSITIONS, names):
            if until is not None and position > until:
                raise RebuildError(f"--to {until} is before the position of {name}: it is served at {position}")
        await connection.execute(REQUEST, names, until)
        requests = await connection.fetch(REQUESTED, names)
        for row in requests:
            if row["upto"] != until:
                end = f"up to {row['upto']}" if row["upto"] else "up to the end of the log"
                raise RebuildError(f"{row['model']} is being rebuilt already, {end}")
        await connection.execute(NOTIFY)
    return [row["number"] for row in requests], until or head


async def _follow(
    connection: asyncpg.Connection, numbers: list[int], target: int, stop: asyncio.Event, own: asyncio.Task[None]
) -> list[asyncpg.Record]:
    """Wait until all models are served at ``target`` or have failed, or until ``stop``; return their states."""
    with ProgressBar("rebuilding") as bar:
        while True:
            rows: list[asyncpg.Record] = await connection.fetch(STATE, numbers)
            if stop.is_set() or all(_is_over(row, target) for row in rows):
                return rows
            bar.show(min(row["built"] or (row["ended"] and row["served"]) or 0 for row in rows), target)
            if own.done():
                await own  # raises its error
            await wait_event(stop, POLL_SECONDS)


def _is_over(row: asyncpg.Record, target: int) -> bool:
    """Return whether a rebuild has ended; a model may be served before it has reached the target."""
    return row["ended"] and bool(row["error"] or row["stopped"] or row["served"] >= target)


def _outcome(rows: list[asyncpg.Record], target: int, *, here: bool, seconds: float) -> RebuildResult:
    served: dict[int, list[str]] = {}
    failed: list[str] = []
    waiting: list[asyncpg.Record] = []
    for row in rows:
        if not _is_over(row, target):
            waiting.append(row)
        elif row["error"]:
            failed.append(f"{row['model']} was not rebuilt and is served unchanged: {row['error']}")
        elif row["served"] < target:
            failed.append(f"{row['model']} was rebuilt and has stopped since: {row['stopped']}")
        else:
            served.setdefault(row["position"] or row["served"], []).append(row["model"])
    by = "by this command, because no projector is running" if here else "by the running projector"
    done = [
        f"rebuilt {_names_text(names)}: served from position {at} on ({seconds:.1f} s, {by})"
        for at, names in sorted(served.items())
    ]
    if waiting:
        at = min(row["built"] or row["served"] or 0 for row in waiting)
        continues = "when a projector runs, or with this command again" if here else "in the running projector"
        names = _names_text([row["model"] for row in waiting])
        failed.append(f"stopped waiting for {names} (at {at} of {target}): the rebuild continues {continues}")
    return RebuildResult(130 if waiting else 1 if failed else 0, done, failed)


def _names_text(names: list[str]) -> str:
    return f"all {len(ALL)} read models" if len(names) == len(ALL) else ", ".join(names)
