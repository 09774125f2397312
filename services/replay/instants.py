"""Instants of the log: what `as_of` may ask for, and which events had been heard by then.

``recorded`` is the listener's clock, almost in the order of positions; but what waited in a spool was appended late,
among events that are younger. By a position is meant the log as it stood then, late events missing; by a time
everything that had been heard by then, whenever it was appended.

Where our clock was set back, times come twice. ``appended`` never goes back: it stands still until PostgreSQL's clock
has caught up, which marks the batches of such a time. Then a time is the last moment at which an event shows it.
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
"""How far ahead of ours the clock of somebody may be who asks for what is now."""

POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)

FIRST = "SELECT first, earliest FROM ledger.batch ORDER BY first LIMIT 1"
# Appended by then; then what was appended soon after, as all is; then what the partial index batch_late knows.
APPENDED = "SELECT last FROM ledger.batch WHERE appended <= $1 ORDER BY appended DESC, first DESC LIMIT 1"
AFTERWARDS = """
SELECT first, last, false AS late FROM ledger.batch
WHERE month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND appended > $1 AND appended <= $1 + interval '10 seconds'
  AND earliest <= $1
UNION ALL
SELECT first, last, true FROM ledger.batch
WHERE month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND appended > $1 + interval '10 seconds'
  AND appended - earliest > interval '10 seconds' AND earliest <= $1
ORDER BY first
"""
LAST = """
SELECT position FROM ledger.event WHERE position > $1 AND position <= $2 AND recorded <= $3
ORDER BY position DESC LIMIT 1
"""

# The last batch with an event recorded by $1 that was appended at one and the same time as a batch before it.
REPEATED = """
SELECT r.first - 1 AS after, r.last AS upto FROM ledger.batch r
WHERE r.month >= date_trunc('month', $1 AT TIME ZONE 'UTC') AND r.appended > $1 + interval '10 seconds'
  AND r.appended - r.earliest > interval '10 seconds' AND r.earliest <= $1
  AND EXISTS (SELECT FROM ledger.batch b WHERE b.appended = r.appended AND b.first < r.first AND b.earliest > $1)
ORDER BY r.first DESC LIMIT 1
"""
# When the event was recorded, if its batch is such a one.
RECORDED = """
SELECT e.recorded FROM ledger.event e
CROSS JOIN LATERAL (SELECT first, appended FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1) b
WHERE e.position = $1 AND e.recorded < b.appended - interval '10 seconds'
  AND b.appended = (SELECT appended FROM ledger.batch WHERE first < b.first ORDER BY first DESC LIMIT 1)
"""


class InvalidInstantError(ValueError):
    """What was asked for is no instant of this log; the message says why."""


class Instant(Struct, frozen=True):
    """The events that count: those in ``spans`` (after, up to), if ``until`` is given only those recorded by then.

    ``at`` is the time of the instant. ``position`` is that of the last event that counts; of those that were appended
    when they were due, where there are any. ``first`` is the first position that is in the log.
    """

    position: int
    at: datetime
    first: int
    spans: tuple[tuple[int, int], ...]
    until: datetime | None = None


def parse(text: str) -> int | datetime:
    """Return the position or time (UTC) that is meant. Raises InvalidInstantError."""
    if POSITION.fullmatch(text):
        return int(text)
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidInstantError(f"{text[:40]!r} is no position and no time such as 2026-11-23T14:03:00Z") from None


async def find(connection: asyncpg.Connection, asked: int | datetime, now: datetime | None = None) -> Instant:
    """Find the instant in the log. Raises InvalidInstantError if it lies outside, ArchivedError if before its edge.

    The edge itself is an instant: states are kept there.
    """
    head = await head_position(connection)
    archived = await read_catalog(connection)
    first = await connection.fetchrow(FIRST)
    if first is None:
        raise InvalidInstantError("the log is empty")
    if isinstance(asked, int):
        if asked < archived.position and (archive := archived.archive_of(asked)) is not None:
            raise ArchivedError(f"position {asked}", archive)
        if not (archived.position or first["first"]) <= asked <= head:
            raise InvalidInstantError(f"there is no position {asked}: the log goes from {first['first']} to {head}")
        at = await connection.fetchval(RECORDED, asked) or await saved.latest_recorded(connection, asked)
        return Instant(asked, at, first["first"], ((0, asked),))
    now = now or datetime.now(UTC)
    if asked > now + TOLERANCE:
        raise InvalidInstantError(f"{rfc3339(asked)} is still to come")
    at = min(asked, now)
    if archived and to_microseconds(at) < archived.latest_recorded:
        raise ArchivedError(rfc3339(at), archived.archive_at(to_microseconds(at)))
    found = await _by_time(connection, at, first["first"])
    if found is None and archived:
        return Instant(archived.position, at, first["first"], ((0, archived.position),), at)
    if found is None:
        raise InvalidInstantError(f"{rfc3339(asked)} is before the first event, of {rfc3339(first['earliest'])}")
    return found


async def _by_time(connection: asyncpg.Connection, at: datetime, first: int) -> Instant | None:
    if (repeated := await connection.fetchrow(REPEATED, at)) is not None:
        position: int = await connection.fetchval(LAST, *repeated, at)
        return Instant(position, at, first, ((0, position),))
    appended: int | None = await connection.fetchval(APPENDED, at)
    afterwards = await connection.fetch(AFTERWARDS, at)
    due = [(0, appended)] if appended else []
    due += [(batch["first"] - 1, batch["last"]) for batch in afterwards if not batch["late"]]
    late = [(batch["first"] - 1, batch["last"]) for batch in afterwards if batch["late"]]
    for after, upto in (*reversed(due), *reversed(late)):
        position = await connection.fetchval(LAST, after, upto, at)
        if position is not None:
            return Instant(position, at, first, _joined(due + late), at)
    return None


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for after, upto in spans:
        if joined and joined[-1][1] == after:
            joined[-1] = (joined[-1][0], upto)
        else:
            joined.append((after, upto))
    return tuple(joined)
