"""Finds out which events of a file the log already has, so that none is imported twice."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from time import time

import asyncpg
import msgspec
from msgspec import Struct

from schemas.log import Imported, NewEvent
from services.log.chain import leaf
from services.runtime.masking.lines import mask_line
from services.transfer import timezones
from services.transfer.ami_blocks import read_blocks
from services.transfer.asterisk_files import CsvRecord
from services.transfer.import_content import Content, csv_records

CLOSE_SECONDS = 5.0
"""Clocks with a smaller difference count as equal: a record has whole seconds, and its event takes some time."""

COUNTED_ONCE = frozenset({"cel_csv", "queue_log"})
"""Kinds whose lines the models count once with the AMI events of the same calls, so that none is left out."""

IMPORTS = """
SELECT position, connection, raw FROM ledger.event
WHERE source = 'ringledger' AND pbx = $1 AND name = 'Imported' AND position <= $2 ORDER BY position
"""
CONNECTED = """
SELECT extract(epoch FROM least(
    (SELECT since FROM ledger.past WHERE pbx = $1),
    (SELECT min(coalesce(occurred, recorded)) FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = 'Connected' AND position <= $2)))::float8
"""
# How far the PBX's clock was ahead of the listener's on the first link: records have the PBX's times.
CLOCK_OFFSET = """
WITH link AS (
    SELECT position, connection FROM ledger.event
    WHERE source = 'ringledger' AND pbx = $1 AND name = 'Connected' AND position <= $2 ORDER BY position LIMIT 1
)
SELECT extract(epoch FROM e.occurred - e.recorded)::float8
FROM link JOIN ledger.event e ON e.pbx = $1 AND e.connection = link.connection
WHERE e.position > link.position AND e.position <= least($2, link.position + 10000)
  AND e.source = 'ami' AND e.occurred IS NOT NULL
ORDER BY e.position LIMIT 1
"""
RECORDS = """
SELECT ledger.leaf('', e.occurred, e.recorded, e.source, e.name, e.raw)
FROM ledger.batch b JOIN ledger.event e ON e.position BETWEEN b.first AND b.last
WHERE b.pbx = $1 AND b.connection = ANY($2::bigint[]) AND b.last <= $3
"""
BLOCKS = """
SELECT sha256(e.raw) FROM ledger.batch b JOIN ledger.event e ON e.position BETWEEN b.first AND b.last
WHERE b.pbx = $1 AND b.connection = ANY($2::bigint[]) AND b.last <= $3 AND e.source = 'ami'
"""


class Overlap(Struct, frozen=True):
    """The events that the log already has: periods of listening, and imported records with their number.

    Times are by the PBX's clock; ``connected`` is the start of the first link. A record is identified by its leaf with
    an empty salt, an AMI block by its SHA-256.
    """

    connected: float
    ami_periods: list[tuple[float, float]]
    records: Counter[bytes]


async def read_overlap(
    connection: asyncpg.Connection, content: Content, pbx: str, position: int, *, is_old: bool = False
) -> Overlap:
    """Return what the log has of a file's events until ``position``.

    ``is_old`` is for an import that an earlier version began: it left out lines of times with a link for all kinds.
    """
    rows = await connection.fetch(IMPORTS, pbx, position)
    imports = [(row["connection"], decode_imported(row)) for row in rows]
    if content.kind == "ami":
        # The repaired file contains the intact blocks of the damaged one again.
        others = [number for number, i in imports if i.kind == "ami" and i.damaged and number != content.connection]
        blocks = Counter(row[0] for row in await connection.fetch(BLOCKS, pbx, others, position))
        return Overlap(math.inf, [], blocks)
    others = [number for number, i in imports if i.kind == content.kind and number != content.connection]
    records = Counter(row[0] for row in await connection.fetch(RECORDS, pbx, others, position))
    if content.kind in COUNTED_ONCE and not is_old:
        return Overlap(math.inf, [], records)
    connected: float | None = await connection.fetchval(CONNECTED, pbx, position)
    periods = [(i.first, i.last) for _, i in imports if i.kind == "ami" and i.first is not None and i.last is not None]
    if connected is None:
        return Overlap(math.inf, periods, records)
    offset: float = await connection.fetchval(CLOCK_OFFSET, pbx, position) or 0.0
    return Overlap(connected + (offset if abs(offset) >= CLOSE_SECONDS else 0.0), periods, records)


def decode_imported(row: asyncpg.Record) -> Imported:
    """Return the Imported event of a row of IMPORTS."""
    return msgspec.json.decode(row["raw"], type=Imported)


def new_events(content: Content, overlap: Overlap, timezone: str, skipped: Counter[str]) -> Iterator[NewEvent]:
    """Yield the events that the log does not have yet.

    ``skipped`` counts the others: "heard" for times at which the listener was connected, "there" for imported ones.
    """
    records = overlap.records.copy()
    if content.kind == "ami":
        for event in read_blocks(content.path, time(), content.damage_sink):
            if records and _take(records, [sha256(event.raw).digest()]):
                skipped["there"] += 1
            else:
                yield event
        return
    zone = timezones.parse_zone(timezone) if timezone else None
    for record in csv_records(content):
        at = timezones.end_time(record, zone)
        if at >= overlap.connected or any(first <= at <= last for first, last in overlap.ami_periods):
            skipped["heard"] += 1
            continue
        event = NewEvent(content.kind, record.name, at, at, mask_line(content.kind, record.raw))
        if records and _take(records, list(_unsalted_leaves(event, record))):
            skipped["there"] += 1
        else:
            yield event


def _take(records: Counter[bytes], ids: Sequence[bytes]) -> bool:
    """Remove one record with one of these ids; return whether there was one."""
    record = next((one for one in ids if records[one]), None)
    if record is not None:
        records[record] -= 1
    return record is not None


def _unsalted_leaves(event: NewEvent, record: CsvRecord) -> Iterator[bytes]:
    """Yield the leaves that a record may have: older versions gave it another name, or left secrets unmasked."""
    microseconds = int(event.recorded * 1e6 + 0.5)
    for name in {event.name, record.old_name or event.name}:
        for raw in {event.raw, record.raw}:
            yield leaf(b"", microseconds, microseconds, event.source, name, raw)
