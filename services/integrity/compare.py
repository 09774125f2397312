"""Compares events with what their batches sealed: column by column, which is quick, in a process for each processor."""

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
from services.log.chain import LEAF, SALT, Batch, leaf, split
from services.log.redactions import Leaves

PARALLEL = 200_000
"""Fewer events are compared sooner than other processes have started."""

Kind = tuple[str, str, str]
Redacted = Mapping[int, Leaves]
"""By position: the leaf that was appended, and that of what stands there now, as an event of ours says."""


class Compared(Struct):
    """What a window of events that fit holds: how often each (pbx, source, name) came, and where last; bytes."""

    counts: Counter[Kind]
    lasts: dict[Kind, int]
    size: int


Compare = Callable[[list[Batch], list[date]], Awaitable[Compared | None]]


def same(redacted: Redacted, position: int, sealed: bytes, now: bytes) -> bool:
    """Tell whether an event whose leaf was sealed may have the leaf that it has now."""
    return redacted.get(position, (sealed, sealed)) == (sealed, now)


async def compare(
    connection: asyncpg.Connection, redacted: Redacted, batches: list[Batch], months: list[date]
) -> Compared | None:
    """Compare every column of every event of ``batches``, which follow on each other; None if anything does not fit."""
    rows = await read_rows(connection, batches)
    spans = [range(b.last - b.first + 1) for b in batches]
    if len(rows) != sum(map(len, spans)):
        return None
    columns = list(zip(*rows, strict=True))
    positions, writers, ordinals, occurred, recorded, dates, pbxes, sources, names, raws = columns
    salts = split(b"".join([b.salts for b in batches]), SALT)
    leaves = list(map(leaf, salts, occurred, recorded, sources, names, raws))
    sealed = b"".join([b.leaves for b in batches])
    # One that is said to be redacted must be so: that it is as it was sealed is not enough.
    alike = b"".join(leaves) == sealed and redacted.keys().isdisjoint(positions)
    if not alike and not all(map(partial(same, redacted), positions, split(sealed, LEAF), leaves)):
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
    return Compared(Counter(kinds), dict(zip(kinds, positions, strict=True)), sum(map(len, raws)))


@asynccontextmanager
async def comparing(
    url: str, connection: asyncpg.Connection, redacted: Redacted, events: int
) -> AsyncGenerator[tuple[Compare, int]]:
    """Give what compares, and how many windows it may be given before the first is awaited."""
    if events < PARALLEL:
        yield partial(compare, connection, redacted), 0
        return
    processes = min(os.cpu_count() or 1, 8)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _open, (url, dict(redacted)))
    loop = asyncio.get_running_loop()

    def elsewhere(batches: list[Batch], months: list[date]) -> Awaitable[Compared | None]:
        return loop.run_in_executor(pool, _compare, batches, months)

    try:
        yield elsewhere, 2 * processes
    finally:
        pool.shutdown(cancel_futures=True)


_here: Compare
_runner: asyncio.Runner


def _open(url: str, redacted: Redacted) -> None:
    """Make this process one that compares."""
    global _here, _runner  # noqa: PLW0603 (a pool's process has no other place for what is its own)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who waits for us says when
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.set_threshold(100_000, 50, 50)  # many rows and no cycles: looking for them that often is a sixth of the work
    _runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    _here = partial(compare, _runner.run(connect_microseconds(url, "ringledger verify")), redacted)


def _compare(batches: list[Batch], months: list[date]) -> Compared | None:
    return _runner.run(_awaited(batches, months))


async def _awaited(batches: list[Batch], months: list[date]) -> Compared | None:
    return await _here(batches, months)


def _end_with_parent() -> None:
    # A pool's processes do not notice when the one that made them is killed.
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
