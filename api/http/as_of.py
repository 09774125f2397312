"""``as_of``: a view as it was. The models are folded up to then in memory, and the view's own SQL reads their rows.

The rows go in as parameters of common table expressions that have the tables' names: that shadows the tables without
touching the catalogue, and works where nothing may be written.
"""

from collections import OrderedDict
from collections.abc import Sequence

import structlog

from api.http.errors import ApiError
from api.http.flights import Flights
from api.http.rendering import render, size
from api.http.views import Args, Rendered, View
from projections import ALL
from services.accounts.fair_queue import FairQueue
from services.database.pool import Pool
from services.projector.checkpoints import LINKS, complete, linked
from services.projector.table import Table
from services.replay import instants
from services.replay.as_of import AsOfModel, AsOfReader, BrokenModelError, TooFarError
from services.replay.instants import Instant, InvalidInstantError

MAX_EVENTS = 2_000_000
"""Events that a request may have folded. Models that are not live begin with the first one, but want few: 1 us each."""
# What makes the same instant another one. Saved states may hold what was redacted until "stale" is empty again. The
# hash seals all that counts: a log that came back with older data may give the same positions to other events.
LOG_VERSION = """
SELECT (SELECT coalesce(max(last), 0) FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'),
       EXISTS (SELECT FROM ledger.stale),
       coalesce((SELECT hash FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1), '')
"""
CACHE_BYTES = 8 << 20
CACHE_ENTRIES = 256

LogVersion = tuple[int, bool, bytes]
"""The last redaction, whether one is under way, and the hash of the last batch that counts."""
Key = tuple[str, Args, Instant, LogVersion]

logger = structlog.get_logger()


class AsOfViews:
    """Answers ``as_of`` in turns, and keeps answers for requests that ask the same.

    But not beyond a redaction, nor when the log came back with older data: both change what was.
    """

    def __init__(self, pool: Pool, queue: FairQueue) -> None:
        self._pool = pool
        self._queue = queue
        self._as_of = AsOfReader(ALL)
        self._kept: OrderedDict[Key, Rendered] = OrderedDict()
        self._bytes = 0
        self._folding = Flights[tuple[str, Key], Rendered]()

    async def render(self, view: View, args: Args, text: str, user: str) -> Rendered:
        """Return the view as of the position or time that ``text`` names.

        Raises ApiError: 400 for no such instant, 503 where the user's share or the queue is full; ArchivedError.
        """
        try:
            async with self._pool.acquire() as connection:
                instant = await instants.find(connection, instants.parse(text))
                past: LogVersion = tuple(await connection.fetchrow(LOG_VERSION, max(upto for _, upto in instant.spans)))
        except InvalidInstantError as error:
            raise ApiError(400, f"as_of: {error}") from None
        key = (view.name, args, instant, past)
        if (kept := self._found(key)) is not None:
            return kept
        try:
            # Requests of one user that ask the same share a turn. Those of two users do not: the line of one may be
            # long, and the second fold finds the answer of the first.
            return await self._folding.join((user, key), lambda: self._take_turn(key, view, user))
        except TooFarError as error:
            raise ApiError(400, f"as_of: {error}; ask `ringledger as-of`") from None
        except BrokenModelError as error:
            logger.exception("as_of_failed", view=view.name)
            raise ApiError(500, f"as_of: read model {error} cannot be folded", "internal-error") from None

    def stop(self) -> None:
        """Give up what is being folded, so that the process can end."""
        self._folding.stop()

    def _found(self, key: Key) -> Rendered | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    async def _take_turn(self, key: Key, view: View, user: str) -> Rendered:
        with self._queue.place(user):
            async with self._queue.turn(user):
                return self._found(key) or await self._fold(key, view)

    async def _fold(self, key: Key, view: View) -> Rendered:
        _, args, instant, past = key
        names = dict.fromkeys((*view.models, "links"))
        async with self._pool.acquire() as connection:
            held = await self._as_of.read(connection, list(names), instant, MAX_EVENTS)
            taken = (*args, instant.at) if view.ticks else args
            sql, arguments = _with_rows(view.sql, taken, [held[name] for name in view.models])
            rows = await connection.fetch(sql, *arguments)
            sql, arguments = _with_rows(LINKS, (instant.at,), [held["links"]])
            links = linked(await connection.fetch(sql, *arguments))
        told = Rendered(
            await render(rows, view.wire, view.envelope.closing),
            _tag(view, instant, past),
            {
                "X-Ledger-Position": str(instant.position),
                "X-Ledger-Lag-Ms": "0",
                "X-Ledger-Complete": "true" if complete(links, args[0]) else "false",
            },
        )
        # Here, and not by who asked: who comes between the two would have it folded again.
        self._keep(key, told)
        return told

    def _keep(self, key: Key, told: Rendered) -> None:
        self._kept[key] = told
        self._bytes += size(told.body or ())
        while len(self._kept) > CACHE_ENTRIES or (self._bytes > CACHE_BYTES and len(self._kept) > 1):
            self._bytes -= size(self._kept.popitem(last=False)[1].body or ())


def with_tables(sql: str, first: int, tables: Sequence[Table]) -> str:
    """Return the SQL with these tables shadowed; the arrays of their rows are its parameters from ``first`` on."""
    shadows = []
    for table in tables:
        shadows.append(table.shadow(first))
        first += len(table.columns)
    return f"WITH {', '.join(shadows)} ({sql}\n)"


def _with_rows(sql: str, args: Args, held: Sequence[AsOfModel]) -> tuple[str, Args]:
    """Return the SQL with the tables of these rows shadowed, and its arguments."""
    arrays = [array for one in held for array in one.table.arrays(one.rows)]
    return with_tables(sql, len(args) + 1, [one.table for one in held]), (*args, *arrays)


def _tag(view: View, instant: Instant, past: LogVersion) -> str:
    versions = ".".join(str(model.version) for model in ALL if model.name in view.models)
    at = f"{instant.position}.{instant.spans[-1][1]}.{instant.at:%Y%m%dT%H%M%S%f}"
    redacted, is_stale, hash_ = past
    return f"as-of-{at}-{versions}-{redacted}.{is_stale:d}-{hash_[:8].hex()}"
