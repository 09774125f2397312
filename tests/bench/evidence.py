"""How long a search for one call takes in a log without an index for it, and how long a number takes to explain."""

import re
import time
from typing import Any

import asyncpg

from api.ledger.search import Search, SearchFilter
from api.ledger.value_match import UNIQUE_ID, ValueMatch
from projections.calls.statistics import STATISTICS
from schemas.log import NewEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect, create_pool
from services.log.append import append_events
from services.projector.projector import Projector
from services.replay.explain import explain_rows
from tests.bench.recording import played
from tests.bench.report import Figure
from tests.bench.stage import BrokenError, Stage

BATCH = 4096
TRIES = 3


async def evidence(stage: Stage, total: int, _: int) -> list[Figure]:
    """Pages by unique id over the whole log, found or not, and the events of a month's statistics."""
    url = await stage.database("evidence")
    connection = await connect(url, search_path="model, ledger")
    some = await _appended(connection, total)
    pool = await create_pool(url, size=2, search_path="model, ledger")
    matching, events = min([await _page(pool, some) for _ in range(TRIES)])
    missing, none = min([await _page(pool, "1799999999.1") for _ in range(TRIES)])
    if not events or none:
        raise BrokenError(f"{events} events of a call, {none} of none")
    projector = Projector(connection, [STATISTICS])
    await projector.open()
    while await projector.advance():
        pass
    rows: list[Any] = projector.cursors[0].table.rows(
        await connection.fetch("SELECT * FROM statistics WHERE scope = 'pbx' AND length(period) = 7 LIMIT 1")
    )
    start = time.perf_counter()
    made = await explain_rows(pool, STATISTICS, {(r.pbx, r.period, r.scope, r.name): r for r in rows}, [(0, total)])
    explained = time.perf_counter() - start
    if not made.is_exact or len(made.steps) != rows[0].calls:
        raise BrokenError(f"{len(made.steps)} events do not make {rows[0].calls} calls")
    await pool.close()
    await connection.close()
    await stage.drop("evidence")
    million = 1_000_000 / total
    return [
        Figure(
            "evidence",
            f"page by unique id, {events} found, for a million events",
            matching * million,
            "s",
            2,
            at_most=True,
        ),
        Figure(
            "evidence", "page by unique id, none found, for a million events", missing * million, "s", 2, at_most=True
        ),
        Figure("evidence", f"a month of {rows[0].calls:,} calls explained, of {total:,} events", explained, "s"),
    ]


async def _appended(connection: asyncpg.Connection, total: int) -> str:
    """Append the recording until the log has ``total`` events; return the unique id of a channel in the middle."""
    got: list[NewEvent] = []
    protocol = LedgerProtocol(got.extend, lambda _: None)
    protocol.closed = False
    done, unique_id = 0, ""
    for _, data in played(total, 1_800_000_000, BATCH):
        protocol.data_received(data)
        await append_events(connection, "pbx", 1, done + 1, got)
        done += len(got)
        if not unique_id and done > total // 2:
            match = re.search(rb"\r\nUniqueid: (\S+)", b"".join([e.raw for e in got if e.name == "Newchannel"]))
            unique_id = match[1].decode() if match else ""
        got.clear()
    if done != total:
        raise BrokenError(f"{done} events appended of {total}")
    return unique_id


async def _page(pool: asyncpg.Pool, unique_id: str) -> tuple[float, int]:
    search = Search(pool, SearchFilter(values=(ValueMatch(UNIQUE_ID, frozenset({unique_id.encode()})),)))
    start = time.perf_counter()
    events = sum([len(page) async for page in search.pages(10_000)])
    return time.perf_counter() - start, events
