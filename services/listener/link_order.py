"""The order of links in the log: each link's end stands there once, before the next link begins.

A killed listener cannot write the end of its link, and spools are appended late. So each writer looks at the last link
in the log, under the log's lock, and adds the end that is missing.
"""

from collections.abc import Sequence

import asyncpg
import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from schemas.log import AriConnected, AriDisconnected, Connected, Disconnected, NewEvent, Superseded
from services.database.locks import Lock
from services.log.append import append_events
from services.log.writer import own_event

DIED = "the listener died"
WENT_BACK = "the log lost what it had acknowledged"

ENDS: dict[str, type[AriDisconnected] | type[Disconnected]] = {"ami": Disconnected, "ari": AriDisconnected}
BEGINNINGS: dict[str, type[AriConnected] | type[Connected]] = {"ami": Connected, "ari": AriConnected}

# The lock of ledger.append: no other append comes between the look at the log and ours.
LOCK = f"SELECT pg_advisory_xact_lock({Lock.APPEND:d})"
# ledger.past has the last AMI link of archived months; an ARI link from there is not known any more.
LOOK = """
WITH archived AS (SELECT * FROM ledger.past WHERE pbx = $1 AND $2 = 'Connected'),
beginning AS (
    (SELECT position, connection FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = $2 ORDER BY position DESC LIMIT 1)
    UNION ALL
    (SELECT connected, connection FROM archived WHERE connected IS NOT NULL)
    ORDER BY position DESC LIMIT 1
),
ending AS (
    (SELECT position, connection FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = $3 ORDER BY position DESC LIMIT 1)
    UNION ALL
    (SELECT disconnected, NULL FROM archived WHERE disconnected IS NOT NULL)
    ORDER BY position DESC LIMIT 1
)
SELECT b.connection AS begun_by, e.connection AS ended_by, b.position > coalesce(e.position, 0) AS is_open,
       extract(epoch FROM c.last_recorded)::float8 AS heard,
       b.connection <> $4 AND (
           EXISTS (SELECT FROM ledger.event
                   WHERE source = 'ringledger' AND pbx = $1 AND name = $2 AND connection = $4)
           OR coalesce((SELECT fenced FROM ledger.connection WHERE pbx = $1 AND connection = $4) <
                       (SELECT appended FROM ledger.batch WHERE first <= b.position ORDER BY first DESC LIMIT 1), false)
       ) AS is_superseded
FROM beginning b LEFT JOIN ending e ON true
JOIN ledger.connection c ON c.pbx = $1 AND c.connection = b.connection
"""
NEXT = "SELECT coalesce(max(last_ordinal), 0) + 1 FROM ledger.connection WHERE pbx = $1 AND connection = $2"

logger = structlog.get_logger()


class LastLink(Struct, frozen=True):
    """The last link in the log as a writer finds it.

    ``begun_by`` and ``ended_by`` are writers; ``heard`` is when ``begun_by`` recorded its last event (seconds since the
    epoch). ``is_superseded``: the link began after another listener had taken this writer's place.
    """

    begun_by: int
    ended_by: int | None
    is_open: bool
    heard: float
    is_superseded: bool


class LinkOrder:
    """Appends each batch in which a link begins or ends, and the next batch of a writer that `follow` names."""

    def __init__(self, pbx: str, kind: str) -> None:
        self.reason = DIED
        self._pbx = pbx
        self._beginning = BEGINNINGS[kind].__name__
        self._end = ENDS[kind]
        self._following: set[int] = set()
        self._log = logger.bind(pbx=pbx, kind=kind)

    def follow(self, writer: int) -> None:
        """Have an open link of another writer ended before the next batch of this one, whatever that holds."""
        self._following.add(writer)

    def concerns(self, writer: int, events: Sequence[NewEvent]) -> bool:
        """Return whether this batch must be appended here."""
        return writer in self._following or any(e.name in self._names and e.source == "ringledger" for e in events)

    async def append(self, connection: asyncpg.Connection, writer: int, first: int, events: list[NewEvent]) -> None:
        """Append as `append_events` does; before it the end of a link that another writer left open, if another begins.

        Link events of a writer whose place another has taken are recorded as `Superseded`.
        """
        async with connection.transaction():
            await connection.execute(LOCK)
            last = await self.last(connection, writer)
            follows = writer in self._following or any(e.name == self._beginning for e in events)
            if last is not None and follows and last.is_open and last.begun_by != writer and not last.is_superseded:
                await self._complete(connection, writer - 1, last)
                last = replace(last, is_open=False, ended_by=writer - 1)
            await append_events(connection, self._pbx, writer, first, self._in_order(writer, last, events))
        self._following.discard(writer)
        self.reason = DIED

    async def last(self, connection: asyncpg.Connection, writer: int) -> LastLink | None:
        """Return the last link in the log from the point of view of ``writer``, None before the first."""
        row = await connection.fetchrow(LOOK, self._pbx, *self._names, writer)
        return LastLink(**row) if row is not None else None

    @property
    def _names(self) -> tuple[str, str]:
        return self._beginning, self._end.__name__

    async def _complete(self, connection: asyncpg.Connection, writer: int, last: LastLink) -> None:
        self._log.warning("earlier_link_has_no_end", heard=last.heard, reason=self.reason)
        ordinal = await connection.fetchval(NEXT, self._pbx, writer)
        await append_events(connection, self._pbx, writer, ordinal, [own_event(self._end(self.reason, last.heard))])

    def _in_order(self, writer: int, last: LastLink | None, events: list[NewEvent]) -> list[NewEvent]:
        if last is None:
            return events
        is_ended = not last.is_open and last.ended_by not in {None, writer, writer - 1}
        ordered = []
        for event in events:
            if event.source == "ringledger" and event.name in self._names:
                if last.is_superseded or (is_ended and event.name != self._beginning):
                    self._log.warning("link_superseded", name=event.name, recorded=event.recorded)
                    late = Superseded(event.name, msgspec.Raw(event.raw))
                    ordered.append(replace(event, name="Superseded", raw=msgspec.json.encode(late)))
                    continue
                is_ended = False
            ordered.append(event)
        return ordered
