"""Follows the log of one PBX: hears which channels come into AGI and what becomes of them, and has each driven."""

import asyncio
import contextlib
import uuid

import asyncpg
import structlog

from projections.engine.decoding import DecodedEvent
from schemas.agi import AgiRunStarted, AgiStep
from schemas.ami.agi import AsyncAgiEvent
from schemas.ami.transfer import AttendedTransfer
from schemas.log import RecordedEvent
from services.commander.async_agi.driver import BREAK, Append, Driver
from services.commander.async_agi.recovery import OLDEST_SECONDS, unfinished
from services.commander.async_agi.run import Run, master_of
from services.commander.link import CommanderLink
from services.database import connection as database
from services.database.notify import Channel
from services.log.read import head_position
from services.runtime.tasks import cancel_and_wait

POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""How long events may gather while much is said: a busy log is not read for each batch."""
WINDOW = 20_000
AT_ONCE = 50
LONGEST_EVENT = 1 << 18
"""Bytes. Events of async AGI and hangups are much shorter; the log may hold others of any PBX."""
MOST_RUNS = 10_000

logger = structlog.get_logger()

HEARD = """
SELECT e.position, e.source, e.name, coalesce(e.occurred, e.recorded) AS at, e.raw, e.recorded,
       abs(extract(epoch FROM now - CASE WHEN b.appended <= now THEN b.appended ELSE e.recorded END))::float8 AS age,
       extract(epoch FROM least(b.appended, now) - e.recorded)::float8 AS late
FROM (SELECT clock_timestamp() AS now) c
CROSS JOIN ledger.event e
CROSS JOIN LATERAL (SELECT appended FROM ledger.batch WHERE first <= e.position ORDER BY first DESC LIMIT 1) b
WHERE e.position > $1 AND e.position <= $2 AND e.pbx = $3 AND octet_length(e.raw) <= $4 AND (
    e.source = 'ami' AND e.name IN ('AsyncAGIStart', 'AsyncAGIExec', 'AsyncAGIEnd', 'HangupRequest',
                                    'SoftHangupRequest', 'Hangup', 'AttendedTransfer')
    OR e.source = 'ringledger' AND e.name = 'Connected'
)
ORDER BY e.position
"""
# Known without reading the log: a PBX that has no use for async AGI costs nothing.
LAST = """
SELECT coalesce(max(last), 0) FROM ledger.name WHERE pbx = $1 AND source = 'ami' AND name = 'AsyncAGIStart'
"""
MODELS = "SELECT to_regclass('model.adpmas') IS NOT NULL AND to_regclass('model.adps') IS NOT NULL"
STEPS = """
SELECT s.uuid, s.sequence, s.name, s.command
FROM model.adpmas m LEFT JOIN model.adps s ON s.pbx = '' AND s.dpma_uuid = m.uuid
WHERE m.pbx = '' AND m.uuid = $1
ORDER BY s.sequence
"""


class AsyncAgi:
    """The runs of one PBX. `run` it while the commander holds its lock; ``append`` is the commander's."""

    def __init__(self, pbx: str, url: str, link: CommanderLink, append: Append) -> None:
        self._pbx = pbx
        self._url = url
        self._append = append
        self._driver = Driver(link, append)
        self._answered: frozenset[int] = frozenset()
        self._runs: dict[str, Run] = {}  # by unique id: whoever came last
        self._new: list[Run] = []
        self._driven: dict[asyncio.Task[None], Run] = {}

    async def run(self) -> None:
        """Follow the log until cancelled. Raises what ends the commander's term, and what nobody expected."""
        connection = await database.connect(self._url)
        wake = asyncio.Event()
        try:
            await connection.add_listener(Channel.LOG, lambda *_: wake.set())
            left = await unfinished(connection, self._pbx)
            self._answered = left.answered
            for run in left.runs:
                self._meet(run)
            after = left.after
            while True:
                wake.clear()
                after = await self._hear(connection, after)
                await self._begin(connection, wake)
                self._take_leave()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()
                        await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await cancel_and_wait(self._driven)
            connection.terminate()

    async def _hear(self, connection: asyncpg.Connection, after: int) -> int:
        """Take what the log says after this position; return the position of its end."""
        head = await head_position(connection)
        if not self._runs and await connection.fetchval(LAST, self._pbx) <= after:
            return head
        while after < head:
            upto = min(after + WINDOW, head)
            async with connection.transaction(readonly=True):
                rows = connection.cursor(HEARD, after, upto, self._pbx, LONGEST_EVENT, prefetch=AT_ONCE)
                async for row in rows:
                    self._take(row)
            after = upto
        return after

    def _take(self, row: asyncpg.Record) -> None:
        if row["name"] == "Connected":
            # The listener was away, and what it did not hear is in no log.
            for run in self._runs.values():
                if run.waiting:
                    run.doubt()
            return
        recorded = RecordedEvent(
            row["position"], self._pbx, row["source"], row["name"], row["at"], row["raw"], row["recorded"]
        )
        if row["name"] == "AttendedTransfer":
            self._move(DecodedEvent(recorded).convert(AttendedTransfer))
            return
        event: AsyncAgiEvent = DecodedEvent(recorded).convert(AsyncAgiEvent)
        there = self._runs.get(event.unique_id)
        if there is not None and there.start >= event.position:
            return  # of an earlier time that this channel was in AGI: a new commander reads from before the run
        if row["name"] != "AsyncAGIStart":
            if there is not None:
                there.hear(row["name"], event)
            return
        master = master_of(event)
        timely = row["age"] <= OLDEST_SECONDS and abs(row["late"]) <= OLDEST_SECONDS
        if master is not None and timely and event.position not in self._answered:
            if len(self._runs) >= MOST_RUNS:
                logger.warning("agi_runs_full", pbx=self._pbx, channel=event.channel[:200], runs=len(self._runs))
                return
            self._meet(Run(str(uuid.uuid4()), event.channel, event.unique_id, master, event.position))

    def _meet(self, run: Run) -> None:
        before = self._runs.get(run.unique_id)
        if before is not None:
            before.leave()
        self._runs[run.unique_id] = run
        self._new.append(run)

    def _move(self, event: AttendedTransfer) -> None:
        """Follow a run to the channel that an attended transfer puts in its channel's place."""
        run, new = self._runs.get(event.replaced()), event.replacement()
        if run is not None and new.unique_id and run.start < event.position:
            self._forget(run)
            run.channel, run.unique_id = new.channel, new.unique_id
            self._runs[run.unique_id] = run

    async def _begin(self, connection: asyncpg.Connection, wake: asyncio.Event) -> None:
        """Have those driven that came, if they are still there."""
        met, self._new = self._new, []
        for run in met:
            if not run.begun:
                if run.over:
                    self._forget(run)
                    continue
                run.known, run.steps = await self._steps(connection, run.master)
            task = asyncio.create_task(self._drive(run))
            task.add_done_callback(lambda _: wake.set())
            self._driven[task] = run

    async def _steps(self, connection: asyncpg.Connection, master: str) -> tuple[bool, tuple[AgiStep, ...]]:
        """Return whether there is such a master, and its commands in order, up to one that leaves AGI by itself."""
        rows = await connection.fetch(STEPS, master) if await connection.fetchval(MODELS) else []
        steps: list[AgiStep] = []
        for row in rows:
            command = (row["command"] or "").strip()
            if command.upper().split() == BREAK.split():
                break
            if command:
                steps.append(AgiStep(row["uuid"], row["sequence"], row["name"], command))
        return bool(rows), tuple(steps)

    async def _drive(self, run: Run) -> None:
        if not run.begun:
            await self._append(
                AgiRunStarted(run.id, run.channel, run.unique_id, run.master, run.start, run.known, run.steps)
            )
            run.begun = True
        await self._driver.drive(run)

    def _take_leave(self) -> None:
        """Forget those that have ended. Raises what their drivers raised."""
        for task in [task for task in self._driven if task.done()]:
            self._forget(self._driven.pop(task))
            task.result()

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.unique_id) is run:
            del self._runs[run.unique_id]
