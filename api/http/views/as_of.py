"""``as_of``: views of the past. The models are folded in memory up to an instant; the view's own SQL reads the rows.

The rows are parameters of common table expressions that have the tables' names. That shadows the tables without
touching the catalogue, and works on a read-only server.
"""

import re
from collections.abc import Sequence

import structlog
from cachetools import LRUCache

from api.http.errors import ApiError
from api.http.views.cache import byte_cache
from api.http.views.flights import Flights
from api.http.views.rendering import render, size
from api.http.views.view import Args, Query, QueryKey, Rendered, View
from projections import ALL
from services.accounts.fair_queue import FairQueue
from services.database.pool import Pool
from services.projector.checkpoints.checkpoints import LINKS, is_complete, links_of
from services.projector.table import RowTable, Table
from services.replay import instants
from services.replay.as_of import AsOfModel, AsOfReader, BrokenModelError, TooFarError
from services.replay.instants import Instant, InvalidInstantError

MAX_EVENTS = 2_000_000
"""Events that one request may fold. Models of history fold the whole log. Calls take 8 us an event, others 1 us."""
# Saved states may hold redacted values until "stale" is empty again. The hash covers all events that count: a log that
# was restored from an older backup may give the same positions to other events.
LOG_VERSION = """
SELECT (SELECT coalesce(max(last), 0) FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'),
       EXISTS (SELECT FROM ledger.stale),
       coalesce((SELECT hash FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1), '')
"""
CACHE_BYTES = 8 << 20
CACHE_ENTRIES = 256

LogVersion = tuple[int, bool, bytes]
"""The last redaction, whether one is under way, and the hash of the last batch that counts."""
Key = tuple[QueryKey, Instant, LogVersion]

logger = structlog.get_logger()


class AsOfViews:
    """Renders views ``as_of`` an instant, in turns, and caches the results.

    A cached result holds until the next redaction, or until an older backup of the log is restored.
    """

    def __init__(self, pool: Pool, queue: FairQueue) -> None:
        self._pool = pool
        self._queue = queue
        self._as_of = AsOfReader(ALL)
        self._cache: LRUCache[Key, Rendered] = byte_cache(
            CACHE_BYTES, lambda rendered: size(rendered.body or ()), CACHE_ENTRIES
        )
        self._folding = Flights[tuple[str, Key], Rendered]()

    async def render(self, query: Query, text: str, user: str) -> Rendered:
        """Return the result as of the position or time that ``text`` names, in a turn of ``user``.

        Raises ApiError 400 for no such instant, NotReady where the user's share or the queue is full, ArchivedError.
        """
        try:
            async with self._pool.acquire() as connection:
                instant = await instants.find(connection, instants.parse(text))
                version: LogVersion = tuple(
                    await connection.fetchrow(LOG_VERSION, max(until for _, until in instant.spans))
                )
        except InvalidInstantError as error:
            raise ApiError(400, f"as_of: {error}") from None
        key = (query.key, instant, version)
        if (cached := self._cache.get(key)) is not None:
            return cached
        try:
            # Equal requests of one user share a turn. Those of two users do not: the line of one may be long, and the
            # second fold finds the result of the first.
            return await self._folding.join((user, key), lambda: self._take_turn(key, query, user))
        except TooFarError as error:
            raise ApiError(400, f"as_of: {error}; use `ringledger as-of`") from None
        except BrokenModelError as error:
            logger.exception("as_of_failed", view=query.view.name)
            raise ApiError(500, f"as_of: read model {error} cannot be folded", "internal-error") from None

    def stop(self) -> None:
        """Cancel all folds, so that the process can end."""
        self._folding.stop()

    async def _take_turn(self, key: Key, query: Query, user: str) -> Rendered:
        with self._queue.reserve(user):
            async with self._queue.turn(user):
                return self._cache.get(key) or await self._fold(key, query)

    async def _fold(self, key: Key, query: Query) -> Rendered:
        _, instant, version = key
        view = query.view
        names = dict.fromkeys((*view.models, "links"))
        async with self._pool.acquire() as connection:
            states = await self._as_of.read(connection, list(names), instant, MAX_EVENTS)
            sql, parameters = _with_rows(
                view.past_sql or view.sql, query.parameters(instant.at), [states[name] for name in view.models]
            )
            rows = await connection.fetch(sql, *parameters)
            sql, parameters = _with_rows(LINKS, (instant.at,), [states["links"]])
            links = links_of(await connection.fetch(sql, *parameters))
        rendered = Rendered(
            await render(rows, instant.at, view.wire, view.renderer),
            _tag(view, instant, version),
            {
                "X-Ledger-Position": str(instant.position),
                "X-Ledger-Lag-Ms": "0",
                "X-Ledger-Complete": "true" if is_complete(links, query.pbx) else "false",
            },
        )
        # Cached here and not by the caller: a request between the two would fold again.
        self._cache[key] = rendered
        return rendered


def tables_in(sql: str, models: Sequence[Table]) -> list[RowTable]:
    """Return the tables of these models, and those of the tables which follow from them that the SQL names."""
    words = set(re.findall(r"\w+", sql))
    return [one for table in models for one in (table, *[d for d in table.derived if d.bare_name in words])]


def with_tables(sql: str, first: int, tables: Sequence[RowTable]) -> str:
    """Return the SQL with these tables shadowed; the arrays of their rows are its parameters from ``first`` on."""
    shadows = []
    for table in tables:
        shadows.append(table.shadow(first))
        first += len(table.columns)
    # PostgreSQL allows one WITH clause in a statement and its parentheses together.
    own = re.match(r"\s*WITH\s", sql)
    return f"WITH {', '.join(shadows)}, {sql[own.end() :]}" if own else f"WITH {', '.join(shadows)} ({sql}\n)"


def _with_rows(sql: str, parameters: Args, states: Sequence[AsOfModel]) -> tuple[str, Args]:
    """Return the SQL with the tables of these rows shadowed, and its parameters."""
    tables = tables_in(sql, [one.table for one in states])
    rows = {one.table.bare_name: one.rows for one in states}
    for one in states:
        rows |= {d.bare_name: one.derived_rows(d.bare_name) for d in one.table.derived if d in tables}
    arrays = [array for table in tables for array in table.arrays(rows[table.bare_name])]
    return with_tables(sql, len(parameters) + 1, tables), (*parameters, *arrays)


def _tag(view: View, instant: Instant, version: LogVersion) -> str:
    versions = ".".join(str(model.version) for model in ALL if model.name in view.models)
    at = f"{instant.position}.{instant.spans[-1][1]}.{instant.at:%Y%m%dT%H%M%S%f}"
    redacted, is_stale, hash_ = version
    return f"as-of-{at}-{versions}-{redacted}.{is_stale:d}-{hash_[:8].hex()}"
