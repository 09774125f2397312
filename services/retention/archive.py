"""``ringledger archive``: months leave the log for files; what is folded goes on from states kept where it then begins.

The steps stand in the order in which nothing can be lost: what every model holds at the edge is kept, each month is
written to a file, each file is read back, on disk, and held against the log; then one transaction takes the months
out. A command that dies before that has changed nothing that counts, and does all of it again when it is run again.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
from msgspec import Struct

from projections import ALL
from services.database import connection as database
from services.database.errors import DATABASE_ERRORS, NO_LEDGER, UNREACHABLE, explain
from services.database.locks import Lock, try_lock
from services.log.archives import ArchiveCatalog, last_archived, read_catalog
from services.log.redactions import RedactionError
from services.projector import saved_states as saved
from services.projector import stale_states
from services.projector.initial_state import NoInitialStateError
from services.projector.saved_states import SavedState
from services.replay.as_of import AsOfReader, BrokenModelError
from services.replay.instants import Instant
from services.retention.archive_files import Month, Written, places, write
from services.retention.detach import ArchiveError, detach, ready
from services.runtime.progress import Bar
from services.transfer.export_ledger import ExportError
from services.transfer.ledger_file import LedgerFileError

CURRENT = "SELECT date_trunc('month', ledger.clock() AT TIME ZONE 'UTC')::date"
MONTHS = """
SELECT part.month, f.first, l.last, l.hash
FROM (SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'ledger.batch'::regclass) AS part
CROSS JOIN LATERAL (SELECT first FROM ledger.batch b WHERE b.month = part.month ORDER BY first LIMIT 1) AS f
CROSS JOIN LATERAL (SELECT last, hash FROM ledger.batch b WHERE b.month = part.month ORDER BY first DESC LIMIT 1) AS l
WHERE part.month < $1 ORDER BY l.last
"""
NEXT = "SELECT min(first) FROM ledger.batch WHERE month >= $1"
DROP = "SELECT to_char(m, 'YYYY-MM') FROM ledger.drop_archived($1) AS m"


class Archived(Struct, frozen=True):
    """What was done: files that were written, where the log begins now, and months whose tables were dropped."""

    written: list[Written]
    begins: int
    dropped: list[str]


def month_of(text: str) -> date:
    """Read a month as 2026-10. Raises ArchiveError."""
    try:
        if len(text) == len("2026-10"):
            return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        pass
    raise ArchiveError(f"{text[:40]!r} is no month as 2026-10")


async def archive(url: str, before: date, folder: Path, *, drop: bool = False) -> Archived:
    """Archive all months before ``before`` into ``folder``; listeners, projector and API may go on.

    The tables of these months are left in schema ``archived``, or dropped. Raises ArchiveError.
    """
    try:
        connection = await database.connect(url, application_name="ringledger archive", search_path="model, ledger")
    except UNREACHABLE as error:
        raise ArchiveError(explain(error), 1) from None
    try:
        if not await try_lock(connection, Lock.RETENTION):
            raise ArchiveError("a redaction or another archive is under way")
        return await _archive(url, connection, before, folder, drop=drop)
    except NO_LEDGER:
        raise ArchiveError("the database holds no ledger of this version; `ringledger migrate` makes one") from None
    except (ExportError, LedgerFileError, RedactionError, NoInitialStateError) as error:
        raise ArchiveError(f"nothing was archived: {error}") from None
    except BrokenModelError as error:
        raise ArchiveError(f"nothing was archived: read model {error} cannot be folded: {error.__cause__!r}") from None
    except DATABASE_ERRORS as error:
        raise ArchiveError(f"not finished: {explain(error)}", 1) from None
    finally:
        await connection.close()


async def _archive(url: str, connection: asyncpg.Connection, before: date, folder: Path, *, drop: bool) -> Archived:
    current: date = await connection.fetchval(CURRENT)
    if before > current:
        raise ArchiveError(f"{before:%Y-%m} is still to come: the months before {current:%Y-%m} can be archived")
    old = await read_catalog(connection)
    months = await _months(connection, old, before)
    written: list[Written] = []
    if months:
        await ready(connection, months[-1].last)
        files = places(months, folder)
        latest = await _keep(connection, old.position, months[-1].last)
        written = await write(url, months, files)
        await detach(connection, written, latest)
    begins = await last_archived(connection) + 1
    await _tidy(connection, begins - 1)
    dropped = [row[0] for row in await connection.fetch(DROP, before)] if drop else []
    if not written and not dropped:
        raise ArchiveError(f"nothing to archive before {before:%Y-%m}: the log begins later, with position {begins}")
    return Archived(written, begins, dropped)


async def _months(connection: asyncpg.Connection, old: ArchiveCatalog, before: date) -> list[Month]:
    """Return the months to archive, which must be the beginning of the log."""
    months: list[Month] = []
    position, previous = old.position, old.hash
    rows = await connection.fetch(MONTHS, before)
    for month, first, last, hash_ in rows:
        if first != position + 1:
            raise ArchiveError(f"{month:%Y-%m} does not follow on position {position}, but begins with {first}")
        months.append(Month(month, first, last, previous, hash_))
        position, previous = last, hash_
    following = await connection.fetchval(NEXT, before)
    if rows and following is not None and following != position + 1:
        raise ArchiveError(f"months from {before:%Y-%m} on begin with position {following}, within what is before them")
    return months


async def _keep(connection: asyncpg.Connection, behind: int, position: int) -> datetime:
    """Keep what all models hold at ``position``; return the greatest time of recording up to there."""
    await stale_states.delete_pinned_after(connection, behind)
    latest = await saved.latest_recorded(connection, position)
    instant = Instant(position, latest, behind + 1, ((0, position),))
    with Bar("folding") as progress:
        held = await AsOfReader(ALL).read(connection, [model.name for model in ALL], instant, on_progress=progress.show)
    for one in held.values():
        await saved.pin(connection, SavedState(one.table.model, position, latest, one.changed, one.state), one.rows)
    return latest


async def _tidy(connection: asyncpg.Connection, position: int) -> None:
    async with connection.transaction():
        await stale_states.delete_before(connection, position)


def lines(done: Archived) -> list[str]:
    """Say in a few lines what was done."""
    said = [
        f"{one.file}: {one.manifest.events} events in {one.manifest.batches} batches, positions {one.month.first} to"
        f" {one.month.last}"
        for one in done.written
    ]
    if done.written:
        said.append(f"archived; the log begins with position {done.begins}. Keep these files, and their manifests")
    if done.dropped:
        said.append(f"dropped the tables of {', '.join(done.dropped)}")
    return said
