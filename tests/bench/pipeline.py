"""The way of an event as users run it: a PBX that sends, the listener's process, the projector's, and PostgreSQL."""

import asyncio
import json
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import msgspec

from tests.bench.http import PASSWORD
from tests.bench.recording import sent_of
from tests.bench.stage import BrokenError, Stage, cpu, line, machine_cpu, postgres, pss
from tests.support.ports import free_port

WAIT_SECONDS = 120
SAMPLE_SECONDS = 0.5
OTHERS = """
SELECT position FROM ledger.event WHERE NOT (source = 'ami' AND name = ANY($1::text[])) ORDER BY position
"""
READS = """
SELECT min(position), extract(epoch FROM recorded)::float8 FROM ledger.event
WHERE source = 'ami' AND name = ANY($1::text[]) GROUP BY recorded ORDER BY 1
"""
COUNTS = "SELECT name, count(*) FROM ledger.event WHERE source = 'ami' AND name = ANY($1::text[]) GROUP BY name"


@dataclass
class Played:
    """One run. ``log``, ``models`` and ``views``: the times (seconds since the epoch) at which each event arrived."""

    total: int
    rate: int
    start: float
    ended: float
    late: float
    log: list[tuple[float, int]]
    models: list[tuple[float, int]]
    views: list[tuple[float, int]]
    reads: list[tuple[float, int]]
    counts: dict[str, int]
    memory: dict[str, list[tuple[int, float]]]
    cpu: dict[str, float]

    def lags(self, arrivals: list[tuple[float, int]]) -> list[tuple[float, int]]:
        """Return (seconds after it was due on the wire, how many events) for every arrival of ``arrivals``.

        It is the lag of the oldest event that arrived then.
        """
        steps = []
        last = 0
        for at, number in arrivals:
            if number > last:
                steps.append((at - self.due(last + 1), number - last))
                last = number
        return steps

    def due(self, number: int) -> float:
        """Return when the sender had to send this event (numbers from 1)."""
        piece = max(1, int(self.rate * 0.01))
        return self.start + min(-(-number // piece) * piece, self.total) / self.rate


class Pipeline:
    """The running processes; `play` lets the PBX speak once."""

    def __init__(self, stage: Stage, connection: asyncpg.Connection, pbx: "subprocess.Popen[str]", port: int) -> None:
        self.log: list[tuple[float, int]] = []
        self.models: list[tuple[float, int]] = []
        self.views: list[tuple[float, int]] = []
        self.ours: dict[str, subprocess.Popen[str]] = {}
        self.port = port
        self._stage = stage
        self._connection = connection
        self._pbx = pbx

    async def watch(self) -> None:
        """Note from here on when the log and the models grow."""
        await self._connection.add_listener("ledger", lambda *a: self.log.append((time.time(), int(a[3]))))
        await self._connection.add_listener(
            "ringledger_model",
            lambda *a: self.models.append((time.time(), msgspec.json.decode(a[3])["position"])),
        )

    async def ready(self) -> None:
        """Wait until the listener has taken its first snapshot, and the models have folded it."""
        query = "SELECT max(position) FROM ledger.event WHERE name = 'SnapshotCompleted'"
        start: int | None = None
        async with asyncio.timeout(WAIT_SECONDS):
            while start is None or not self._folded(start):
                self._stage.check(self._pbx, *self.ours.values())
                await asyncio.sleep(0.05)
                start = start or await self._connection.fetchval(query)

    async def play(self, total: int, rate: int) -> Played:
        """Send ``total`` events and return when they are all in the log and in the models."""
        names = list(sent_of(0))
        memory: dict[str, list[tuple[int, float]]] = {}
        before = self.log[-1][1] if self.log else 0
        used = self._cpu()
        assert self._pbx.stdin is not None
        self._pbx.stdin.write("go\n")
        self._pbx.stdin.flush()
        report = asyncio.ensure_future(line(self._pbx.stdout, WAIT_SECONDS + total / (rate or 10_000)))
        patience = time.monotonic() + WAIT_SECONDS + total / (rate or 10_000)
        missing = total
        while missing:
            self._stage.check(self._pbx, *self.ours.values())
            if time.monotonic() > patience:
                raise BrokenError(f"{missing:,} of {total:,} events were not where they belong {WAIT_SECONDS} s later")
            position = max(0, self.log[-1][1] - before) if self.log else 0
            for name, megabytes in self._memory().items():
                memory.setdefault(name, []).append((position, megabytes))
            await asyncio.sleep(SAMPLE_SECONDS)
            if report.done() and self._folded(before + total):
                head = await self._connection.fetchval("SELECT position FROM ledger.head")
                missing = 0 if self._folded(head) else 1
        sent = json.loads(await report)
        used = {name: seconds - used[name] for name, seconds in self._cpu().items()}
        others: list[int] = [r[0] for r in await self._connection.fetch(OTHERS, names)]

        def numbered(series: list[tuple[float, int]]) -> list[tuple[float, int]]:
            return [(at, position - bisect_right(others, position)) for at, position in series]

        reads = [(r[1], r[0]) for r in await self._connection.fetch(READS, names)]
        ends = [*(number - 1 for _, number in numbered(reads)[1:]), total]
        return Played(
            total,
            rate,
            sent["begun"],
            sent["ended"],
            sent["late"],
            numbered(self.log),
            numbered(self.models),
            numbered(self.views),
            [(at, end) for (at, _), end in zip(reads, ends, strict=True)],
            dict(await self._connection.fetch(COUNTS, names)),
            memory,
            used,
        )

    def _folded(self, position: int) -> bool:
        """Say whether all that runs has reached ``position``."""
        series = self.models if "project" in self.ours else self.log
        return bool(series) and series[-1][1] >= position

    def _memory(self) -> dict[str, float]:
        memory = {name: pss(process.pid) for name, process in self.ours.items()}
        server = [pss(pid) for pid in postgres(self._stage.server)]
        return memory | {"PostgreSQL": sum(server), "PostgreSQL's largest": max(server)}

    def _cpu(self) -> dict[str, float]:
        used = {name: cpu(process.pid) for name, process in {"sender": self._pbx, **self.ours}.items()}
        used["PostgreSQL"] = sum(map(cpu, postgres(self._stage.server)))
        used["everything else"] = machine_cpu() - sum(used.values())
        return used


@asynccontextmanager
async def pipeline(stage: Stage, url: str, total: int, rate: int, *ours: str) -> AsyncIterator[Pipeline]:
    """Run a PBX that will send ``total`` events, and the named processes of Ringledger, until the context ends."""
    connection = await asyncpg.connect(url)
    with ExitStack() as processes:
        command = (sys.executable, "-m", "tests.bench.pbx", str(total), str(rate))
        pbx = processes.enter_context(stage.process(*command, name="pbx"))
        port = (await line(pbx.stdout, WAIT_SECONDS)).strip()
        environ = {
            "RINGLEDGER_AMI": f"bench=ami://bench:bench@127.0.0.1:{port}",
            "RINGLEDGER_DATABASE_URL": url,
            "RINGLEDGER_DATA": str(stage.folder / "processes"),
            "RINGLEDGER_HTTP": f"127.0.0.1:{free_port()}",
            "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
        }
        running = Pipeline(stage, connection, pbx, int(environ["RINGLEDGER_HTTP"].rpartition(":")[2]))
        await running.watch()
        for name in ours:
            running.ours[name] = processes.enter_context(stage.ringledger(name, **environ))
        await running.ready()
        yield running
    await connection.close()
