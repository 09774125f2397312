"""``ringledger archive``: moves months from the log into files. Models continue from states saved at its new start.

The order of the steps loses nothing. First the states of all models at the new start of the log are saved. Then each
month is written to a file, synced to disk, read back and compared with the log. Last, one transaction removes the
months. A command that dies before that has removed nothing, and can be run again.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg

from projections import ALL
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS, NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.database.locks import Lock, try_lock
from services.log.archives import ArchiveCatalog, drop_detached, last_archived, read_catalog
from services.log.redactions import RedactionError
from services.projector import saved_states as saved
from services.projector import stale_states
from services.projector.initial_state import NoInitialStateError
from services.projector.saved_states import SavedState
from services.replay.as_of import AsOfReader, BrokenModelError
from services.replay.instants import Instant
from services.retention.archive_files import ArchiveFile, Month, file_paths, write_files
from services.retention.archive_report import ArchiveResult
from services.retention.detach import ArchiveError, check_ready, detach
from services.runtime.progress import ProgressBar
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


def parse_month(text: str) -> date:
    """Return the first day of a month such as 2026-10. Raises ArchiveError."""
    try:
        if len(text) == len("2026-10"):
            return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        pass
    raise ArchiveError(f"{text[:40]!r} is not a month such as 2026-10")


async def archive(url: str, before: date, folder: Path, *, drop: bool = False) -> ArchiveResult:
    """Archive all months before ``before`` into ``folder``, also while all processes of Ringledger run.

    The tables of these months stay in schema ``archived`` unless ``drop`` is set. Raises ArchiveError.
    """
    try:
        connection = await connect(url, application_name="ringledger archive", search_path="model, ledger")
    except UNREACHABLE as error:
        raise ArchiveError(explain(error), 1) from None
    try:
        if not await try_lock(connection, Lock.RETENTION):
            raise ArchiveError("a redaction or another archive is running")
        return await _archive(url, connection, before, folder, drop=drop)
    except NO_LEDGER:
        raise ArchiveError(NO_LEDGER_MESSAGE) from None
    except (ExportError, LedgerFileError, RedactionError, NoInitialStateError) as error:
        raise ArchiveError(f"nothing was archived: {error}") from None
    except BrokenModelError as error:
        raise ArchiveError(f"nothing was archived: read model {error} cannot be folded: {error.__cause__!r}") from None
    except DATABASE_ERRORS as error:
        raise ArchiveError(f"not finished: {explain(error)}", 1) from None
    finally:
        await connection.close()


async def _archive(
    url: str, connection: asyncpg.Connection, before: date, folder: Path, *, drop: bool
) -> ArchiveResult:
    current: date = await connection.fetchval(CURRENT)
    if before > current:
        raise ArchiveError(f"{before:%Y-%m} is in the future: months before {current:%Y-%m} can be archived")
    catalog = await read_catalog(connection)
    months = await _months(connection, catalog, before)
    files: list[ArchiveFile] = []
    if months:
        await check_ready(connection, months[-1].last)
        paths = file_paths(months, folder)
        latest = await _save_states(connection, catalog.position, months[-1].last)
        files = await write_files(url, months, paths)
        await detach(connection, files, latest)
    start = await last_archived(connection) + 1
    async with connection.transaction():
        await stale_states.delete_before(connection, start - 1)
    dropped = [f"{month:%Y-%m}" for month in await drop_detached(connection, before)] if drop else []
    if not files and not dropped:
        raise ArchiveError(f"nothing to archive before {before:%Y-%m}: the log starts later, at position {start}")
    return ArchiveResult(files, start, dropped)


async def _months(connection: asyncpg.Connection, catalog: ArchiveCatalog, before: date) -> list[Month]:
    """Return the months to archive, which must be the first ones of the log."""
    months: list[Month] = []
    position, previous = catalog.position, catalog.hash
    rows = await connection.fetch(MONTHS, before)
    for month, first, last, hash_ in rows:
        if first != position + 1:
            raise ArchiveError(f"{month:%Y-%m} starts at position {first}, and must follow position {position}")
        months.append(Month(month, first, last, previous, hash_))
        position, previous = last, hash_
    following = await connection.fetchval(NEXT, before)
    if rows and following is not None and following != position + 1:
        raise ArchiveError(f"months from {before:%Y-%m} on start at position {following}, within earlier months")
    return months


async def _save_states(connection: asyncpg.Connection, start: int, position: int) -> datetime:
    """Save the states of all models at ``position``; return the greatest time of recording until there."""
    # A command that died may have left such states, and a later redaction may have changed the log.
    await stale_states.delete_pinned_after(connection, start)
    latest = await saved.latest_recorded(connection, position)
    instant = Instant(position, latest, start + 1, ((0, position),))
    with ProgressBar("folding") as progress:
        names = [model.name for model in ALL]
        models = await AsOfReader(ALL).read(connection, names, instant, on_progress=progress.show)
    for one in models.values():
        await saved.pin(connection, SavedState(one.table.model, position, latest, one.changed, one.state), one.rows)
    return latest
