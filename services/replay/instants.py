"""Instants of the log: what ``as_of`` accepts, and which events were received by then.

``recorded`` is the listener's clock and nearly follows the order of positions. Events that waited in a spool are
appended late, among younger ones. A position selects the log as it was then, without these late events. A time selects
all events received by then, whenever they were appended.

If the listener's clock was set back, times repeat. ``appended`` never decreases: it stays the same until PostgreSQL's
clock has caught up, which marks the batches of such a period. A repeated time means its last occurrence.
"""

import re
from datetime import UTC, datetime, timedelta

import asyncpg
from msgspec import Struct

from services.log.archives import ArchivedError, read_catalog
from services.log.read import head_position
from services.log.times import parse_rfc3339, rfc3339, to_microseconds
from services.projector import saved_states as saved

TOLERANCE = timedelta(seconds=60)
"""How far a client's clock may be ahead of this one when it requests the present."""

POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)

FIRST = "SELECT first, earliest FROM ledger.batch ORDER BY first LIMIT 1"
# Batches appended by the time; batches appended within 10 seconds after it, as usual; late batches, for which there is
# the partial index batch_late.
APPENDED = "SELECT last FROM ledger.batch WHERE appended <= $1 ORDER BY appended DESC, first DESC LIMIT 1"
APPENDED_AFTER = """
SELECT first, last, false AS late FROM ledger.batch
WHERE month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND appended > $1 AND appended <= $1 + interval '10 seconds'
  AND earliest <= $1
UNION ALL
SELECT first, last, true FROM ledger.batch
WHERE month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND appended > $1 + interval '10 seconds'
  AND appended - earliest > interval '10 seconds' AND earliest <= $1
ORDER BY first
"""
LAST_RECORDED = """
SELECT position FROM ledger.event WHERE position > $1 AND position <= $2 AND recorded <= $3
ORDER BY position DESC LIMIT 1
"""

# The last batch with an event recorded by $1 whose time of appending equals that of an earlier batch.
REPEATED = """
SELECT r.first - 1 AS after, r.last AS until FROM ledger.batch r
WHERE r.month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND r.appended > $1 + interval '10 seconds'
  AND r.appended - r.earliest > interval '10 seconds' AND r.earliest <= $1
  AND EXISTS (SELECT FROM ledger.batch b WHERE b.appended = r.appended AND b.first < r.first AND b.earliest > $1)
ORDER BY r.first DESC LIMIT 1
"""
# The event's time of recording, if its batch is one of these.
RECORDED = """
SELECT e.recorded FROM ledger.event e
CROSS JOIN LATERAL (SELECT first, appended FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1) b
WHERE e.position = $1 AND e.recorded < b.appended - interval '10 seconds'
  AND b.appended = (SELECT appended FROM ledger.batch WHERE first < b.first ORDER BY first DESC LIMIT 1)
"""


class InvalidInstantError(ValueError):
    """The value is not an instant of this log; the message gives the reason."""


class Instant(Struct, frozen=True):
    """The events in ``spans`` (after, until); if ``until`` is set, only those recorded by then.

    ``at`` is the time of the instant, ``position`` that of its last event: the last one that was appended in time, if
    there is one. ``first`` is the first position of the log.
    """

    position: int
    at: datetime
    first: int
    spans: tuple[tuple[int, int], ...]
    until: datetime | None = None


def parse(text: str) -> int | datetime:
    """Return a position or a time in UTC. Raises InvalidInstantError."""
    if POSITION.fullmatch(text):
        return int(text)
    try:
        return parse_rfc3339(text)
    except ValueError:
        pass
    raise InvalidInstantError(f"{text[:40]!r} is neither a position nor a time such as 2026-11-23T14:03:00Z")


async def find(connection: asyncpg.Connection, instant: int | datetime, now: datetime | None = None) -> Instant:
    """Return the instant of a position or time. Raises InvalidInstantError outside the log, ArchivedError before it.

    The start of the log is an instant too: every model has a saved state there.
    """
    head = await head_position(connection)
    archives = await read_catalog(connection)
    first = await connection.fetchrow(FIRST)
    if first is None:
        raise InvalidInstantError("the log is empty")
    if isinstance(instant, int):
        if instant < archives.position and (archive := archives.archive_of(instant)) is not None:
            raise ArchivedError(f"position {instant}", archive)
        if not (archives.position or first["first"]) <= instant <= head:
            raise InvalidInstantError(f"not found: position {instant}; the log has {first['first']} to {head}")
        at = await connection.fetchval(RECORDED, instant) or await saved.latest_recorded(connection, instant)
        return Instant(instant, at, first["first"], ((0, instant),))
    now = now or datetime.now(UTC)
    if instant > now + TOLERANCE:
        raise InvalidInstantError(f"{rfc3339(instant)} is in the future")
    at = min(instant, now)
    if archives and to_microseconds(at) < archives.latest_recorded:
        raise ArchivedError(rfc3339(at), archives.archive_at(to_microseconds(at)))
    by_time = await _by_time(connection, at, first["first"])
    if by_time is None and archives:
        return Instant(archives.position, at, first["first"], ((0, archives.position),), at)
    if by_time is None:
        raise InvalidInstantError(f"{rfc3339(instant)} is before the first event, at {rfc3339(first['earliest'])}")
    return by_time


async def _by_time(connection: asyncpg.Connection, at: datetime, first: int) -> Instant | None:
    if (repeated := await connection.fetchrow(REPEATED, at)) is not None:
        position: int = await connection.fetchval(LAST_RECORDED, *repeated, at)
        return Instant(position, at, first, ((0, position),))
    appended: int | None = await connection.fetchval(APPENDED, at)
    batches = await connection.fetch(APPENDED_AFTER, at)
    in_time = [(0, appended)] if appended else []
    in_time += [(batch["first"] - 1, batch["last"]) for batch in batches if not batch["late"]]
    late = [(batch["first"] - 1, batch["last"]) for batch in batches if batch["late"]]
    for after, until in (*reversed(in_time), *reversed(late)):
        position = await connection.fetchval(LAST_RECORDED, after, until, at)
        if position is not None:
            return Instant(position, at, first, _joined(in_time + late), at)
    return None


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for after, until in spans:
        if joined and joined[-1][1] == after:
            joined[-1] = (joined[-1][0], until)
        else:
            joined.append((after, until))
    return tuple(joined)


def length_after(instant: Instant, position: int) -> int:
    """Return the number of positions after ``position`` that may hold events of the instant."""
    return sum(until - after for after, until in _spans_after(instant, position))


def windows_after(instant: Instant, position: int, size: int) -> list[tuple[int, int]]:
    """Return these positions as windows (after, until) of at most ``size``."""
    spans = _spans_after(instant, position)
    return [(at, min(at + size, until)) for after, until in spans for at in range(after, until, size)]


def _spans_after(instant: Instant, position: int) -> list[tuple[int, int]]:
    return [(max(after, position), until) for after, until in instant.spans if until > position]
