"""``ringledger import`` of what Asterisk wrote itself: raw AMI, Master.csv, CEL's csv, queue_log.

An event of ours, Imported, opens a connection of its own, whose number follows from the content: the same content comes
in once, and an import that was interrupted goes on where it was.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from itertools import chain, islice
from time import time

import asyncpg
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.log import Imported, NewEvent
from services.database import connection as database
from services.database.migrate import migrate
from services.log.append import append_events
from services.log.chain import leaf
from services.log.read import head_position
from services.log.writer import own_event
from services.runtime.masking.lines import mask_line
from services.runtime.progress import Bar
from services.transfer import timezones as zones
from services.transfer.ami_blocks import ami
from services.transfer.asterisk_files import lines
from services.transfer.import_content import Content
from services.transfer.import_ledger import NOTHING, ImportRefusedError

BATCH = 4096
BATCH_BYTES = 1 << 23
CLOSE_SECONDS = 5.0
"""Clocks that differ by less count as equal: a line has whole seconds, and its event took its way."""

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
# How far the PBX's clock was ahead of the listener's on its first link: lines have the PBX's times.
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
ARCHIVED = "SELECT imported FROM ledger.past WHERE pbx = $1"
LINES = """
SELECT ledger.leaf('', e.occurred, e.recorded, e.source, e.name, e.raw)
FROM ledger.batch b JOIN ledger.event e ON e.position BETWEEN b.first AND b.last
WHERE b.pbx = $1 AND b.connection = ANY($2::bigint[]) AND b.last <= $3
"""
BLOCKS = """
SELECT sha256(e.raw) FROM ledger.batch b JOIN ledger.event e ON e.position BETWEEN b.first AND b.last
WHERE b.pbx = $1 AND b.connection = ANY($2::bigint[]) AND b.last <= $3 AND e.source = 'ami'
"""
DONE = "SELECT last_ordinal FROM ledger.connection WHERE pbx = $1 AND connection = $2"
CLOCK = """
SELECT (state->'memory'->$1->>'offset')::bigint FROM ledger.checkpoint WHERE model = 'call_records' AND place = 'model'
"""


class Known(Struct, frozen=True):
    """What the log held when it was decided what to leave out: times that were heard, and lines that were there.

    Times are the PBX's: ``connected`` is when it was first heard, by its own clock. Lines are known by what their
    leaves would be without a salt, AMI blocks by their SHA-256.
    """

    connected: float
    heard: list[tuple[float, float]]
    lines: Counter[bytes]


async def import_lines(url: str, files: Sequence[Content], pbx: str, timezone: str) -> AsyncIterator[str]:
    """Import files; say of each what was done.

    Raises ImportRefusedError and ZoneError, before anything of the file is written.
    """
    connection = await database.connect(url, application_name="ringledger import")
    try:
        await migrate(connection)
        for content in files:
            yield f"{content.path}: {await _import(connection, content, pbx, timezone)}"
    finally:
        await connection.close()


async def _import(connection: asyncpg.Connection, content: Content, pbx: str, timezone: str) -> str:
    if await connection.fetchval(ARCHIVED, pbx):
        why = f"files of {pbx} were imported before, in months that are archived"
        raise ImportRefusedError(f"{content.path}: {why}, so what it brings twice could not be told")
    imports = await connection.fetch(IMPORTS, pbx, await head_position(connection))
    before = [_imported(row) for row in imports if row["connection"] == content.connection]
    done: int = await connection.fetchval(DONE, pbx, content.connection) or 0
    if before:
        [opening] = before
        if (opening.kind, opening.timezone) != (content.kind, timezone or opening.timezone):
            said = f"as {opening.kind}" + f" with --timezone {opening.timezone}" * bool(opening.timezone)
            raise ImportRefusedError(f"{content.path} was imported {said}, and comes in once")
        if done > opening.events:
            return NOTHING
        if (opening.damaged is None) != (content.damage is None):
            how = "without --skip-damaged" if opening.damaged is None else "with --skip-damaged"
            raise ImportRefusedError(f"{content.path}: its import was begun {how}, and goes on so only")
    else:
        opening = await _opening(connection, content, pbx, timezone)
    known = await _known(connection, content, pbx, opening.log)
    events = chain([own_event(opening)], _kept(content, known, opening, Counter()))
    await _write(connection, (pbx, content.connection), islice(events, done, None), done, opening.events + 1)
    return _said(content, opening, done)


def _imported(row: asyncpg.Record) -> Imported:
    return msgspec.json.decode(row["raw"], type=Imported)


async def _opening(connection: asyncpg.Connection, content: Content, pbx: str, timezone: str) -> Imported:
    """Decide what is left out, and write down what it was decided on: whoever goes on must decide the same."""
    if timezone:
        zones.zone_of(timezone)
    if content.local and content.kind != "ami":
        if not timezone:
            offset: int | None = await connection.fetchval(CLOCK, pbx)
            if offset is None:
                raise ImportRefusedError(f"{content.path}: the log knows no clock of {pbx}: give --timezone")
            timezone = zones.offset_name(offset)
        zones.check(lines(content.path, content.kind, content.spared), zones.zone_of(timezone), timezone)
    else:
        timezone = ""
    position = await head_position(connection)
    damaged = None if content.damage is None else len(content.damage)
    opening = Imported(content.path.name, content.sha256, content.kind, position, 0, timezone=timezone, damaged=damaged)
    known = await _known(connection, content, pbx, position)
    out: Counter[str] = Counter()
    count, first, last = 0, math.inf, -math.inf
    for e in _kept(content, known, opening, out):
        count += 1
        if e.occurred is not None:
            first, last = min(first, e.occurred), max(last, e.occurred)
    opening = replace(opening, events=count, heard=out["heard"], there=out["there"])
    return opening if first > last else replace(opening, first=first, last=last)


async def _known(connection: asyncpg.Connection, content: Content, pbx: str, position: int) -> Known:
    rows = await connection.fetch(IMPORTS, pbx, position)
    imports = [(row["connection"], _imported(row)) for row in rows]
    same = [number for number, i in imports if i.kind == content.kind and number != content.connection]
    if content.kind == "ami":
        # What a file held beside damage stands in the mended one too.
        same = [number for number, i in imports if i.kind == "ami" and i.damaged and number != content.connection]
        there = Counter(row[0] for row in await connection.fetch(BLOCKS, pbx, same, position))
        return Known(math.inf, [], there)
    there = Counter(row[0] for row in await connection.fetch(LINES, pbx, same, position))
    connected: float | None = await connection.fetchval(CONNECTED, pbx, position)
    heard = [(i.first, i.last) for _, i in imports if i.kind == "ami" and i.first is not None and i.last is not None]
    if connected is None:
        return Known(math.inf, heard, there)
    offset: float = await connection.fetchval(CLOCK_OFFSET, pbx, position) or 0.0
    return Known(connected + (offset if abs(offset) >= CLOSE_SECONDS else 0.0), heard, there)


def _kept(content: Content, known: Known, opening: Imported, out: Counter[str]) -> Iterator[NewEvent]:
    """Yield the events that come in, and count in ``out`` those that are left out."""
    there = known.lines.copy()
    if content.kind == "ami":
        for event in ami(content.path, time(), content.spared):
            if there and _taken(there, [sha256(event.raw).digest()]):
                out["there"] += 1
            else:
                yield event
        return
    zone = zones.zone_of(opening.timezone) if opening.timezone else None
    for line in lines(content.path, content.kind, content.spared):
        at = zones.at(line, zone)
        if at >= known.connected or any(first <= at <= last for first, last in known.heard):
            out["heard"] += 1
            continue
        event = NewEvent(content.kind, line.name, at, at, mask_line(content.kind, line.raw))
        # An older import may have left secrets in clear.
        if there and _taken(there, [_unsalted(event, raw) for raw in (event.raw, line.raw)]):
            out["there"] += 1
        else:
            yield event


def _taken(there: Counter[bytes], names: Sequence[bytes]) -> bool:
    """Take what goes by one of these names out of what is there; False if nothing does."""
    name = next((one for one in names if there[one]), None)
    if name is not None:
        there[name] -= 1
    return name is not None


def _unsalted(event: NewEvent, raw: bytes) -> bytes:
    microseconds = int(event.recorded * 1e6 + 0.5)
    return leaf(b"", microseconds, microseconds, event.source, event.name, raw)


async def _write(
    connection: asyncpg.Connection, writer: tuple[str, int], events: Iterator[NewEvent], done: int, total: int
) -> None:
    with Bar("importing") as progress:
        while batch := _batch(events):
            await append_events(connection, *writer, done + 1, batch)
            done += len(batch)
            progress.show(done, total)


def _batch(events: Iterator[NewEvent]) -> list[NewEvent]:
    batch: list[NewEvent] = []
    size = 0
    while size < BATCH_BYTES and len(batch) < BATCH and (event := next(events, None)) is not None:
        batch.append(event)
        size += len(event.raw)
    return batch


def _said(content: Content, opening: Imported, done: int) -> str:
    parts = [f"{opening.events} events of {opening.kind}"]
    if done > 1:
        parts.append(f"{done - 1} of them were there from an import that was interrupted")
    if opening.heard:
        parts.append(f"{opening.heard} left out: the PBX was heard at that time")
    if opening.there:
        parts.append(f"{opening.there} left out: they are there from another import")
    if opening.timezone:
        parts.append(f"local times taken as {opening.timezone}")
    if content.damage:
        parts.append(f"{len(content.damage)} damaged left out:")
    return "\n".join(["; ".join(parts), *(f"  line {number}: {why}" for number, why in content.damage or ())])
