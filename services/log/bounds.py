"""Ranges of the log that commands take: from one position or time until another, of one PBX or of all."""

from datetime import datetime

import asyncpg

from services.log.archives import ArchiveCatalog, ArchivedError, read_catalog
from services.log.read import head_position
from services.log.times import rfc3339, to_microseconds

# Events that concern no PBX, as facts of the API, have the empty name.
PBX_NAMES = "SELECT pbx FROM ledger.connection WHERE pbx <> '' GROUP BY pbx ORDER BY pbx"
FIRST_SINCE = "SELECT min(first) FROM ledger.batch WHERE appended >= to_timestamp(0) + $1 * interval '1 microsecond'"
LAST_UNTIL = "SELECT max(last) FROM ledger.batch WHERE appended < to_timestamp(0) + $1 * interval '1 microsecond'"

Bound = int | datetime | None
"""A position, inclusive, or a time of appending: inclusive as the first bound, exclusive as the last one."""


class UnknownPbxError(Exception):
    """The log has no events of a PBX of that name; the message names those that it has."""


def parse_bound(text: str) -> int | datetime:
    """Return a position, or a time with a zone. Raises ValueError."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when
    except ValueError:
        pass
    raise ValueError(f"{text!r} is neither a position nor a time with a zone (2026-11-24T14:03:00Z)")


async def pbx_names(connection: asyncpg.Connection) -> list[str]:
    """Return the names of all PBXes that the log has events of, none for a database without a log."""
    try:
        return [row[0] for row in await connection.fetch(PBX_NAMES)]
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return []


async def require_pbx(connection: asyncpg.Connection, pbx: str) -> None:
    """Raise UnknownPbxError unless the log has events of this PBX."""
    names = await pbx_names(connection)
    if pbx not in names:
        raise UnknownPbxError(f"the log holds no PBX {pbx!r}" + (f" (but {', '.join(names)})" if names else ""))


async def positions_between(connection: asyncpg.Connection, since: Bound, until: Bound) -> tuple[int, int]:
    """Return the first and last position between two bounds, at most the log's last one. Raises ArchivedError."""
    head = await head_position(connection)
    archived = await read_catalog(connection)
    for bound in (since, until):
        _require_in_log(archived, bound)
    first, last = archived.position + 1 if since is None else since, until
    if isinstance(since, datetime):
        first = await connection.fetchval(FIRST_SINCE, to_microseconds(since)) or head + 1
    if isinstance(until, datetime):
        last = await connection.fetchval(LAST_UNTIL, to_microseconds(until)) or 0
    assert isinstance(first, int)
    assert not isinstance(last, datetime)
    return max(1, first), head if last is None else min(head, last)


def _require_in_log(archived: ArchiveCatalog, bound: Bound) -> None:
    if not archived or bound is None:
        return
    if isinstance(bound, datetime):
        if (at := to_microseconds(bound)) <= archived.last_appended:
            raise ArchivedError(rfc3339(bound), archived.archive_at(at))
    elif (archive := archived.archive_of(max(1, bound))) is not None:
        raise ArchivedError(f"position {bound}", archive)
