"""``ringledger import`` of files that Asterisk wrote: raw AMI, Master.csv, the CSV of CEL, and queue_log.

The event Imported opens a connection of its own for each file; the connection's number follows from the content. So the
same content is imported once, and an interrupted import can be continued.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain, islice
from time import time

import asyncpg
import msgspec
from msgspec.structs import replace

from schemas.log import Imported, NewEvent
from services.database.connection import connect
from services.database.locks import Lock, stand_by, try_lock
from services.database.migrate import migrate
from services.log.append import append_events
from services.log.read import head_position
from services.runtime.progress import ProgressBar
from services.transfer import timezones
from services.transfer.cel_layout import read_columns, write_columns
from services.transfer.import_content import Content, csv_records
from services.transfer.import_ledger import NOTHING, ImportRefusedError
from services.transfer.import_overlap import IMPORTS, decode_imported, new_events, read_overlap

BATCH_LINES = 4096
BATCH_BYTES = 1 << 23

ARCHIVED = "SELECT imported FROM ledger.past WHERE pbx = $1"
LAST_ORDINAL = "SELECT last_ordinal FROM ledger.connection WHERE pbx = $1 AND connection = $2"
CLOCK = """
SELECT (state->'memory'->$1->>'offset')::bigint FROM ledger.checkpoint WHERE model = 'call_records' AND place = 'model'
"""


async def import_asterisk(url: str, files: Sequence[Content], pbx: str, timezone: str) -> AsyncIterator[str]:
    """Import files; yield a line about each.

    Raises ImportRefusedError and TimezoneError before any event of the file is appended.
    """
    connection = await connect(url, application_name="ringledger import")
    try:
        await migrate(connection)
        # Lines of one PBX come one file after the other: the columns of CEL lines follow from the event before them.
        if not await try_lock(connection, Lock.IMPORT, pbx):
            yield f"waiting for another import of {pbx}"
            await stand_by(connection, Lock.IMPORT, asyncio.Event(), pbx)
        for content in files:
            yield f"{content.path}: {await _import(connection, content, pbx, timezone)}"
    finally:
        await connection.close()


async def _import(connection: asyncpg.Connection, content: Content, pbx: str, timezone: str) -> str:
    if await connection.fetchval(ARCHIVED, pbx):
        reason = f"files of {pbx} were imported in months that are archived now"
        raise ImportRefusedError(f"{content.path}: {reason}, so duplicates could not be recognised")
    imports = await connection.fetch(IMPORTS, pbx, await head_position(connection))
    before = [decode_imported(row) for row in imports if row["connection"] == content.connection]
    done: int = await connection.fetchval(LAST_ORDINAL, pbx, content.connection) or 0
    if before:
        [opening] = before
        if (opening.kind, opening.timezone) != (content.kind, timezone or opening.timezone):
            earlier = f"as {opening.kind}" + f" with --timezone {opening.timezone}" * bool(opening.timezone)
            raise ImportRefusedError(f"{content.path} was already imported {earlier}")
        [position] = [row["position"] for row in imports if row["connection"] == content.connection]
        columns = await read_columns(connection, pbx, position)
        if content.kind == "cel_csv" and content.columns not in {(), columns}:
            earlier = f"with --columns {','.join(columns)}" if columns else "without --columns"
            raise ImportRefusedError(f"{content.path} was already imported {earlier}")
        if done > opening.events:
            return NOTHING
        content = replace(content, columns=columns)
        if (opening.damaged is None) != (content.damage is None):
            how = "without --skip-damaged" if opening.damaged is None else "with --skip-damaged"
            raise ImportRefusedError(f"{content.path}: its import was started {how}, and must be continued so")
    else:
        opening = await _opening(connection, content, pbx, timezone)
    overlap = await read_overlap(connection, content, pbx, opening.log, is_old=opening.heard > 0)
    if content.kind == "cel_csv":
        await write_columns(connection, pbx, content.columns, await head_position(connection))
    now = time()
    first = NewEvent("ringledger", "Imported", now, now, msgspec.json.encode(opening))
    events = chain([first], new_events(content, overlap, opening.timezone, Counter()))
    await _write(connection, (pbx, content.connection), islice(events, done, None), done, opening.events + 1)
    return _report(content, opening, done)


async def _opening(connection: asyncpg.Connection, content: Content, pbx: str, timezone: str) -> Imported:
    """Decide which events to skip, and record the basis of the decision for an import that continues this one."""
    if timezone:
        timezones.parse_zone(timezone)
    if content.is_local and content.kind != "ami":
        if not timezone:
            offset: int | None = await connection.fetchval(CLOCK, pbx)
            if offset is None:
                raise ImportRefusedError(f"{content.path}: the log has no clock of {pbx}; pass --timezone")
            timezone = timezones.offset_name(offset)
        timezones.check_zone(csv_records(content), timezones.parse_zone(timezone), timezone)
    else:
        timezone = ""
    position = await head_position(connection)
    damaged = None if content.damage is None else len(content.damage)
    opening = Imported(content.path.name, content.sha256, content.kind, position, 0, timezone=timezone, damaged=damaged)
    overlap = await read_overlap(connection, content, pbx, position)
    skipped: Counter[str] = Counter()
    count, first, last = 0, math.inf, -math.inf
    for e in new_events(content, overlap, timezone, skipped):
        count += 1
        if e.occurred is not None:
            first, last = min(first, e.occurred), max(last, e.occurred)
    opening = replace(opening, events=count, heard=skipped["heard"], there=skipped["there"])
    return opening if first > last else replace(opening, first=first, last=last)


async def _write(
    connection: asyncpg.Connection, writer: tuple[str, int], events: Iterator[NewEvent], done: int, total: int
) -> None:
    with ProgressBar("importing") as progress:
        while batch := _next_batch(events):
            await append_events(connection, *writer, done + 1, batch)
            done += len(batch)
            progress.show(done, total)


def _next_batch(events: Iterator[NewEvent]) -> list[NewEvent]:
    batch: list[NewEvent] = []
    size = 0
    while size < BATCH_BYTES and len(batch) < BATCH_LINES and (event := next(events, None)) is not None:
        batch.append(event)
        size += len(event.raw)
    return batch


def _report(content: Content, opening: Imported, done: int) -> str:
    parts = [f"{opening.events} events of {opening.kind}"]
    if done > 1:
        parts.append(f"{done - 1} of them were appended by an interrupted import")
    if opening.heard:
        parts.append(f"{opening.heard} skipped: the listener was connected at that time")
    if opening.there:
        parts.append(f"{opening.there} skipped: imported before from another file")
    if opening.timezone:
        parts.append(f"local times read as {opening.timezone}")
    if content.damage:
        parts.append(f"{len(content.damage)} damaged skipped:")
    return "\n".join(["; ".join(parts), *(f"  line {number}: {why}" for number, why in content.damage or ())])
