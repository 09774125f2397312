"""``ringledger import`` of what Asterisk wrote itself: raw AMI, Master.csv, CEL's csv, queue_log.

An event of ours, Imported, opens a connection of its own, whose number follows from the content: the same content comes
in once, and an import that was interrupted goes on where it was.
"""

import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import file_digest
from itertools import chain, islice
from pathlib import Path
from time import time
from typing import Literal

import asyncpg
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.log import Imported, Received
from services import database, log, zones
from services.ami.protocol import LedgerProtocol
from services.chain import leaf
from services.import_ledger import NOTHING, ImportRefusedError
from services.lines import Kind, LinesError, lines
from services.progress import Bar

BATCH = 4096
BATCH_BYTES = 1 << 23
READ = 1 << 16

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
ARCHIVED = "SELECT imported FROM ledger.past WHERE pbx = $1"
LINES = """
SELECT ledger.leaf('', e.occurred, e.recorded, e.source, e.name, e.raw)
FROM ledger.batch b JOIN ledger.event e ON e.position BETWEEN b.first AND b.last
WHERE b.pbx = $1 AND b.connection = ANY($2::bigint[]) AND b.last <= $3
"""
DONE = "SELECT last_ordinal FROM ledger.connection WHERE pbx = $1 AND connection = $2"
CLOCK = """
SELECT (state->'memory'->$1->>'offset')::bigint FROM ledger.checkpoint WHERE model = 'call_records' AND place = 'model'
"""

AnyKind = Literal["ami"] | Kind


class Content(Struct, frozen=True):
    """A file that was read whole and found good; ``local`` says that it has times without a zone."""

    path: Path
    kind: AnyKind
    sha256: str
    events: int
    local: bool

    @property
    def connection(self) -> int:
        """Return the number of the connection that its events come under."""
        return int(self.sha256[:16], 16) >> 1


class Known(Struct, frozen=True):
    """What the log held when it was decided what to leave out: times that were heard, and lines that were there.

    Lines are known by what their leaves would be without a salt.
    """

    connected: float
    heard: list[tuple[float, float]]
    lines: Counter[bytes]


def read(path: Path, kind: AnyKind) -> Content:
    """Read a file whole. Raises LinesError if it is not of that kind to its end."""
    count, local = 0, False
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        if kind == "ami":
            count = sum(1 for _ in ami(path, 0.0))
        else:
            for line in lines(path, kind):
                count += 1
                local |= line.at is None
    except OSError as error:
        raise LinesError(f"{path}: {error.strerror}") from None
    if not count:
        raise LinesError(f"{path} is empty")
    return Content(path, kind, digest, count, local)


def ami(path: Path, now: float) -> Iterator[Received]:
    """Yield the events of a file of AMI blocks, secrets masked. Raises LinesError if anything else stands in it."""
    got: list[Received] = []
    protocol = LedgerProtocol(got.extend, lambda _: None)
    with path.open("rb") as file:
        while data := file.read(READ):
            protocol.data_received(data)
            if protocol.rejected_blocks or protocol.rejected_bytes:
                break
            for e in got:
                yield replace(e, recorded=now if e.occurred is None else e.occurred)
            got.clear()
    if wrong := protocol.rejected_bytes + len(protocol.pending):
        raise LinesError(f"{path}: after {protocol.events} events there are {wrong} bytes that are no AMI block")


def checked(paths: Sequence[Path], kind: AnyKind) -> list[Content]:
    """Read all files whole, before anything is written. Raises LinesError."""
    with Bar("checking") as progress:
        found: list[Content] = []
        for path in paths:
            found.append(read(path, kind))
            progress.show(len(found), len(paths))
    return found


async def import_lines(url: str, files: Sequence[Content], pbx: str, timezone: str) -> AsyncIterator[str]:
    """Import files; say of each what was done.

    Raises ImportRefusedError and ZoneError, before anything of the file is written.
    """
    connection = await database.connect(url, application_name="ringledger import")
    try:
        await database.migrate(connection)
        for content in files:
            yield f"{content.path}: {await _import(connection, content, pbx, timezone)}"
    finally:
        await connection.close()


async def _import(connection: asyncpg.Connection, content: Content, pbx: str, timezone: str) -> str:
    if await connection.fetchval(ARCHIVED, pbx):
        why = f"files of {pbx} were imported before, in months that are archived"
        raise ImportRefusedError(f"{content.path}: {why}, so what it brings twice could not be told")
    imports = await connection.fetch(IMPORTS, pbx, await log.head(connection))
    before = [_imported(row) for row in imports if row["connection"] == content.connection]
    done: int = await connection.fetchval(DONE, pbx, content.connection) or 0
    if before:
        [opening] = before
        if (opening.kind, opening.timezone) != (content.kind, timezone or opening.timezone):
            said = f"as {opening.kind}" + f" with --timezone {opening.timezone}" * bool(opening.timezone)
            raise ImportRefusedError(f"{content.path} was imported {said}, and comes in once")
        if done > opening.events:
            return NOTHING
    else:
        opening = await _opening(connection, content, pbx, timezone)
    known = await _known(connection, content, pbx, opening.log)
    now = time()
    first = Received("ringledger", "Imported", now, now, msgspec.json.encode(opening))
    events = chain([first], _kept(content, known, opening, Counter()))
    await _write(connection, (pbx, content.connection), islice(events, done, None), done, opening.events + 1)
    return _said(opening, done)


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
        zones.check(lines(content.path, content.kind), zones.zone_of(timezone), timezone)
    else:
        timezone = ""
    position = await log.head(connection)
    opening = Imported(content.path.name, content.sha256, content.kind, position, 0, timezone=timezone)
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
    if content.kind == "ami":
        return Known(math.inf, [], Counter())
    rows = await connection.fetch(IMPORTS, pbx, position)
    imports = [(row["connection"], _imported(row)) for row in rows]
    same = [number for number, i in imports if i.kind == content.kind and number != content.connection]
    there = Counter(row[0] for row in await connection.fetch(LINES, pbx, same, position))
    connected: float | None = await connection.fetchval(CONNECTED, pbx, position)
    heard = [(i.first, i.last) for _, i in imports if i.kind == "ami" and i.first is not None and i.last is not None]
    return Known(math.inf if connected is None else connected, heard, there)


def _kept(content: Content, known: Known, opening: Imported, out: Counter[str]) -> Iterator[Received]:
    """Yield the events that come in, and count in ``out`` those that are left out."""
    if content.kind == "ami":
        yield from ami(content.path, time())
        return
    zone = zones.zone_of(opening.timezone) if opening.timezone else None
    there = known.lines.copy()
    for line in lines(content.path, content.kind):
        at = zones.at(line, zone)
        if at >= known.connected or any(first <= at <= last for first, last in known.heard):
            out["heard"] += 1
            continue
        event = Received(content.kind, line.name, at, at, line.raw)
        if there:
            at_microseconds = int(at * 1e6 + 0.5)
            same = leaf(b"", at_microseconds, at_microseconds, event.source, event.name, event.raw)
            if there[same]:
                there[same] -= 1
                out["there"] += 1
                continue
        yield event


async def _write(
    connection: asyncpg.Connection, writer: tuple[str, int], events: Iterator[Received], done: int, total: int
) -> None:
    with Bar("importing") as progress:
        while batch := _batch(events):
            await log.append(connection, *writer, done + 1, batch)
            done += len(batch)
            progress.show(done, total)


def _batch(events: Iterator[Received]) -> list[Received]:
    batch: list[Received] = []
    size = 0
    while size < BATCH_BYTES and len(batch) < BATCH and (event := next(events, None)) is not None:
        batch.append(event)
        size += len(event.raw)
    return batch


def _said(opening: Imported, done: int) -> str:
    parts = [f"{opening.events} events of {opening.kind}"]
    if done > 1:
        parts.append(f"{done - 1} of them were there from an import that was interrupted")
    if opening.heard:
        parts.append(f"{opening.heard} left out: the PBX was heard at that time")
    if opening.there:
        parts.append(f"{opening.there} left out: they are there from another import")
    if opening.timezone:
        parts.append(f"local times taken as {opening.timezone}")
    return "; ".join(parts)
