"""Compares events with the seals of their batches: column by column, which is fast, in one process per processor."""

import asyncio
import gc
import os
import signal
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from multiprocessing import get_context, parent_process

import asyncpg
import uvloop
from msgspec import Struct

from services.log.batches import connect_microseconds, read_rows
from services.log.chain import LEAF_BYTES, SALT_BYTES, SealedBatch, leaf, split
from services.log.redactions import Leaves

PARALLEL_EVENTS = 200_000
"""From this number of events on, several processes are faster, including their start."""

EventKind = tuple[str, str, str]
"""PBX, source and name."""
RedactedLeaves = Mapping[int, Leaves]
"""For each position, the sealed leaf, and the leaf that the event must have now according to the Redacted events."""


class WindowSummary(Struct):
    """A window of intact events: the number and last position of each kind, and the bytes of all."""

    counts: Counter[EventKind]
    lasts: dict[EventKind, int]
    size: int


Comparer = Callable[[list[SealedBatch], list[date]], Awaitable[WindowSummary | None]]


def leaf_matches(redacted: RedactedLeaves, position: int, sealed: bytes, present: bytes) -> bool:
    """Return whether an event with a sealed leaf may have the present leaf."""
    return redacted.get(position, (sealed, sealed)) == (sealed, present)


async def compare_window(
    connection: asyncpg.Connection, redacted: RedactedLeaves, batches: list[SealedBatch], months: list[date]
) -> WindowSummary | None:
    """Compare every column of every event of consecutive ``batches``; return None at any difference."""
    rows = await read_rows(connection, batches)
    spans = [range(b.last - b.first + 1) for b in batches]
    if len(rows) != sum(map(len, spans)):
        return None
    columns = list(zip(*rows, strict=True))
    positions, writers, ordinals, occurred, recorded, dates, pbxes, sources, names, raws = columns
    salts = split(b"".join([b.salts for b in batches]), SALT_BYTES)
    leaves = list(map(leaf, salts, occurred, recorded, sources, names, raws))
    sealed = b"".join([b.leaves for b in batches])
    # A redacted event must have its new leaf: the sealed one is not enough.
    is_equal = b"".join(leaves) == sealed and redacted.keys().isdisjoint(positions)
    if not is_equal and not all(map(partial(leaf_matches, redacted), positions, split(sealed, LEAF_BYTES), leaves)):
        return None
    if not (
        positions == tuple(range(batches[0].first, batches[-1].last + 1))
        and ordinals == tuple([b.ordinal + i for b, span in zip(batches, spans, strict=True) for i in span])
        and writers == tuple([b.connection for b, span in zip(batches, spans, strict=True) for _ in span])
        and pbxes == tuple([b.pbx for b, span in zip(batches, spans, strict=True) for _ in span])
        and dates == tuple([m for m, span in zip(months, spans, strict=True) for _ in span])
    ):
        return None
    kinds = list(zip(pbxes, sources, names, strict=True))
    return WindowSummary(Counter(kinds), dict(zip(kinds, positions, strict=True)), sum(map(len, raws)))


@asynccontextmanager
async def open_comparer(
    url: str, connection: asyncpg.Connection, redacted: RedactedLeaves, events: int
) -> AsyncGenerator[tuple[Comparer, int]]:
    """Yield the function that compares a window, and how many windows may be started ahead of the awaited one."""
    if events < PARALLEL_EVENTS:
        yield partial(compare_window, connection, redacted), 0
        return
    processes = min(os.cpu_count() or 1, 8)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start_process, (url, dict(redacted)))
    loop = asyncio.get_running_loop()

    def compare_in_pool(batches: list[SealedBatch], months: list[date]) -> Awaitable[WindowSummary | None]:
        return loop.run_in_executor(pool, _compare, batches, months)

    try:
        yield compare_in_pool, 2 * processes
    finally:
        pool.shutdown(cancel_futures=True)


_comparer: Comparer
_runner: asyncio.Runner


def _start_process(url: str, redacted: RedactedLeaves) -> None:
    """Prepare a process of the pool."""
    global _comparer, _runner  # noqa: PLW0603 (a process of a pool has no other place for its state)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.set_threshold(100_000, 50, 50)  # Many rows and no cycles: frequent collections are a sixth of the work.
    _runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    _comparer = partial(compare_window, _runner.run(connect_microseconds(url, "ringledger verify")), redacted)


def _compare(batches: list[SealedBatch], months: list[date]) -> WindowSummary | None:
    return _runner.run(_awaited(batches, months))


async def _awaited(batches: list[SealedBatch], months: list[date]) -> WindowSummary | None:
    return await _comparer(batches, months)


def _end_with_parent() -> None:
    # The processes of a pool do not notice when their parent is killed.
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
