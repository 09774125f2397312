"""The order of links in the log: the end of each link is there once, before the next link begins.

A killed listener cannot write the end of its link, and spools are appended late. So each writer reads the last link in
the log, under the log's lock, and appends a missing end.
"""

from collections.abc import Sequence

import asyncpg
import msgspec
import structlog
from msgspec.structs import replace

from schemas.log import AriConnected, AriDisconnected, Connected, Disconnected, NewEvent, Superseded
from services.database.locks import Lock
from services.listener.previous_link import PreviousLink, read_previous_link
from services.log.append import append_events
from services.log.writer import own_event

LISTENER_DIED = "the listener died"
LOG_REWOUND = "the log lost what it had acknowledged"

ENDS: dict[str, type[AriDisconnected] | type[Disconnected]] = {"ami": Disconnected, "ari": AriDisconnected}
BEGINNINGS: dict[str, type[AriConnected] | type[Connected]] = {"ami": Connected, "ari": AriConnected}

# The lock of ledger.append: no other append happens between reading the last link and our append.
LOCK = f"SELECT pg_advisory_xact_lock({Lock.APPEND:d})"
NEXT_ORDINAL = "SELECT coalesce(max(last_ordinal), 0) + 1 FROM ledger.connection WHERE pbx = $1 AND connection = $2"

logger = structlog.get_logger()


class LinkOrder:
    """Appends each batch in which a link begins or ends, and the next batch of a writer given to `follow`."""

    def __init__(self, pbx: str, kind: str) -> None:
        self.reason = LISTENER_DIED
        self._pbx = pbx
        self._beginning = BEGINNINGS[kind].__name__
        self._end = ENDS[kind]
        self._following: set[int] = set()
        self._log = logger.bind(pbx=pbx, kind=kind)

    def follow(self, writer: int) -> None:
        """End an open link of another writer before the next batch of this one, whatever that batch contains."""
        self._following.add(writer)

    def concerns(self, writer: int, events: Sequence[NewEvent]) -> bool:
        """Return whether this batch must be appended here."""
        return writer in self._following or any(e.name in self._names and e.source == "ringledger" for e in events)

    async def append(self, connection: asyncpg.Connection, writer: int, first: int, events: list[NewEvent]) -> None:
        """Append as `append_events` does, after the missing end of another writer's link if a link begins.

        If another writer has taken this one's place, its link events are appended as `Superseded`.
        """
        async with connection.transaction():
            await connection.execute(LOCK)
            previous = await read_previous_link(connection, self._pbx, self._names, writer)
            follows = writer in self._following or any(e.name == self._beginning for e in events)
            if previous is not None and follows and _is_left_open(previous, writer):
                await self._append_end(connection, writer - 1, previous)
                previous = replace(previous, is_open=False, ended_by=writer - 1)
            await append_events(connection, self._pbx, writer, first, self._mark_superseded(writer, previous, events))
        self._following.discard(writer)
        self.reason = LISTENER_DIED

    @property
    def _names(self) -> tuple[str, str]:
        return self._beginning, self._end.__name__

    async def _append_end(self, connection: asyncpg.Connection, writer: int, previous: PreviousLink) -> None:
        self._log.warning("earlier_link_has_no_end", heard=previous.last_recorded, reason=self.reason)
        ordinal = await connection.fetchval(NEXT_ORDINAL, self._pbx, writer)
        end = self._end(self.reason, previous.last_recorded)
        await append_events(connection, self._pbx, writer, ordinal, [own_event(end)])

    def _mark_superseded(self, writer: int, previous: PreviousLink | None, events: list[NewEvent]) -> list[NewEvent]:
        if previous is None:
            return events
        is_ended = not previous.is_open and previous.ended_by not in {None, writer, writer - 1}
        marked = []
        for event in events:
            if event.source == "ringledger" and event.name in self._names:
                if previous.is_superseded or (is_ended and event.name != self._beginning):
                    self._log.warning("link_superseded", name=event.name, recorded=event.recorded)
                    late = Superseded(event.name, msgspec.Raw(event.raw))
                    marked.append(replace(event, name="Superseded", raw=msgspec.json.encode(late)))
                    continue
                is_ended = False
            marked.append(event)
        return marked


def _is_left_open(previous: PreviousLink, writer: int) -> bool:
    return previous.is_open and previous.begun_by != writer and not previous.is_superseded
