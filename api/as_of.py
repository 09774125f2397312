"""``as_of``: a view as it was. The models are folded up to then in memory, and the view's own SQL reads their rows.

The rows go in as parameters of common table expressions that have the tables' names: that shadows the tables without
touching the catalogue, and works where nothing may be written.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import asyncpg
import msgspec
import structlog

from api.errors import ApiError
from api.freshness import LINKS, complete, linked
from api.views import Args, Told, View
from projections import ALL
from services import instants
from services.as_of import AsOf, BrokenModelError, Held, TooFarError
from services.instants import Instant, NoInstantError
from services.tables import Table

FARTHEST = 2_000_000
"""Events that a request may have folded. Models that are not live begin with the first one, but want few: 1 us each."""
# Saved states may hold what was redacted until "stale" is empty again.
REDACTED = """
SELECT coalesce(max(last), 0), EXISTS (SELECT FROM ledger.stale)
FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'
"""
KEPT_BYTES = 8 << 20
KEPT = 256

Redacted = tuple[int, bool]
Key = tuple[str, Args, Instant, Redacted]

logger = structlog.get_logger()


class PastViews:
    """Answers ``as_of``, one after the other; what was answered is kept for who asks the same.

    But not beyond a redaction: that changes what was.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._as_of = AsOf(ALL)
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[Key, Told] = OrderedDict()
        self._bytes = 0
        self._folding: dict[Key, asyncio.Task[Told]] = {}

    async def told(self, view: View, args: Args, text: str) -> Told:
        """Return the view as of the position or time that ``text`` names. Raises ApiError 400, ArchivedError."""
        try:
            async with self._pool.acquire() as connection:
                instant = await instants.find(connection, instants.parse(text))
                last, stale = await connection.fetchrow(REDACTED)
        except NoInstantError as error:
            raise ApiError(400, f"as_of: {error}") from None
        key = (view.name, args, instant, (last, stale))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        task = self._folding.get(key)
        if task is None:
            # A task of its own: it serves all who ask now, also when the one who asked first goes away.
            task = self._folding[key] = asyncio.create_task(self._fold(key, view))
            task.add_done_callback(lambda _: self._folding.pop(key, None))
        try:
            told = await asyncio.shield(task)
        except TooFarError as error:
            raise ApiError(400, f"as_of: {error}; ask `ringledger as-of`") from None
        except BrokenModelError as error:
            logger.exception("as_of_failed", view=view.name)
            raise ApiError(500, f"as_of: read model {error} cannot be folded", "internal-error") from None
        return told

    def stop(self) -> None:
        """Give up what is being folded, so that the process can end."""
        for task in self._folding.values():
            task.cancel()

    async def _fold(self, key: Key, view: View) -> Told:
        _, args, instant, redacted = key
        names = dict.fromkeys((*view.models, "links"))
        async with self._turn, self._pool.acquire() as connection:
            held = await self._as_of.held(connection, list(names), instant, FARTHEST)
            taken = (*args, instant.at) if view.ticks else args
            rows = await _read(connection, view.sql, taken, [held[name] for name in view.models])
            links = linked(await _read(connection, LINKS, (instant.at,), [held["links"]]))
        result = view.wire(rows)
        told = Told(
            None if result is None else msgspec.json.encode(result) + view.envelope.closing,
            _tag(view, instant, redacted),
            {
                "X-Ledger-Position": str(instant.position),
                "X-Ledger-Lag-Ms": "0",
                "X-Ledger-Complete": "true" if complete(links, args[0]) else "false",
            },
        )
        # Here, and not by who asked: who comes between the two would have it folded again.
        self._keep(key, told)
        return told

    def _keep(self, key: Key, told: Told) -> None:
        self._kept[key] = told
        self._bytes += len(told.body or b"")
        while len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popitem(last=False)[1].body or b"")


def shadowing(sql: str, first: int, tables: Sequence[Table]) -> str:
    """Return the SQL with these tables shadowed; the arrays of their rows are its parameters from ``first`` on."""
    shadows = []
    for table in tables:
        shadows.append(table.shadow(first))
        first += len(table.columns)
    return f"WITH {', '.join(shadows)} ({sql}\n)"


async def _read(connection: asyncpg.Connection, sql: str, args: Args, held: Sequence[Held]) -> list[asyncpg.Record]:
    arrays = [array for one in held for array in one.table.arrays(one.rows)]
    text = shadowing(sql, len(args) + 1, [one.table for one in held])
    rows: list[asyncpg.Record] = await connection.fetch(text, *args, *arrays)
    return rows


def _tag(view: View, instant: Instant, redacted: Redacted) -> str:
    versions = ".".join(str(model.version) for model in ALL if model.name in view.models)
    at = f"{instant.position}.{instant.spans[-1][1]}.{instant.at:%Y%m%dT%H%M%S%f}"
    return f"as-of-{at}-{versions}-{redacted[0]}.{redacted[1]:d}"
