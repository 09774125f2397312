"""Follows the log of one PBX: which channels enter AGI, their events, and a driver for each."""

import asyncio
import uuid

import asyncpg
import structlog

from projections.engine.decoding import DecodedEvent
from schemas.agi import AgiRunStarted, AgiStep
from schemas.ami.agi import AsyncAgiEvent
from schemas.ami.transfer import AttendedTransfer
from schemas.log import RecordedEvent
from services.commander.async_agi.driver import BREAK, Append, Driver
from services.commander.async_agi.recovery import MAX_AGE_SECONDS, read_open_runs
from services.commander.async_agi.run import Run, master_of
from services.commander.link import CommanderLink
from services.database.connection import connect
from services.database.notify import NotifyChannel
from services.log.read import head_position
from services.runtime.tasks import cancel_and_wait, wait_event

POLL_SECONDS = 1.0
GATHER_SECONDS = 0.02
"""How long to gather events, so that a busy log is not read for each batch."""
READ_POSITIONS = 20_000
PREFETCH_ROWS = 50
MAX_EVENT_BYTES = 1 << 18
"""Events of async AGI and hangups are much shorter; other events of a PBX may be longer."""
MAX_RUNS = 10_000

logger = structlog.get_logger()

EVENTS = """
SELECT e.position, e.source, e.name, coalesce(e.occurred, e.recorded) AS at, e.raw, e.recorded,
       abs(extract(epoch FROM now - CASE WHEN e.appended <= now THEN e.appended ELSE e.recorded END))::float8 AS age,
       extract(epoch FROM least(e.appended, now) - e.recorded)::float8 AS late
FROM (SELECT clock_timestamp() AS now) c
CROSS JOIN ledger.event_appended e
WHERE e.position > $1 AND e.position <= $2 AND e.pbx = $3 AND octet_length(e.raw) <= $4 AND (
    e.source = 'ami' AND e.name IN ('AsyncAGIStart', 'AsyncAGIExec', 'AsyncAGIEnd', 'HangupRequest',
                                    'SoftHangupRequest', 'Hangup', 'AttendedTransfer')
    OR e.source = 'ringledger' AND e.name = 'Connected'
)
ORDER BY e.position
"""
# This reads no event, so a PBX without async AGI costs nothing.
LAST_START = """
SELECT coalesce(max(last), 0) FROM ledger.name WHERE pbx = $1 AND source = 'ami' AND name = 'AsyncAGIStart'
"""
MODELS_EXIST = "SELECT to_regclass('model.adpmas') IS NOT NULL AND to_regclass('model.adps') IS NOT NULL"
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
        self._started: frozenset[int] = frozenset()
        self._runs: dict[str, Run] = {}  # the last one by unique id
        self._new: list[Run] = []
        self._driving: dict[asyncio.Task[None], Run] = {}

    async def run(self) -> None:
        """Follow the log until cancelled. Raises errors that end the commander's term, and unexpected ones."""
        connection = await connect(self._url)
        wake = asyncio.Event()
        try:
            await connection.add_listener(NotifyChannel.LOG, lambda *_: wake.set())
            open_runs = await read_open_runs(connection, self._pbx)
            self._started = open_runs.started
            for run in open_runs.runs:
                self._start_run(run)
            after = open_runs.after
            while True:
                wake.clear()
                after = await self._read(connection, after)
                await self._drive_new(connection, wake)
                self._reap()
                if await wait_event(wake, POLL_SECONDS):
                    await asyncio.sleep(GATHER_SECONDS)
        finally:
            await cancel_and_wait(self._driving)
            connection.terminate()

    async def _read(self, connection: asyncpg.Connection, after: int) -> int:
        """Handle the events after this position; return the position of the last one."""
        head = await head_position(connection)
        if not self._runs and await connection.fetchval(LAST_START, self._pbx) <= after:
            return head
        while after < head:
            until = min(after + READ_POSITIONS, head)
            async with connection.transaction(readonly=True):
                rows = connection.cursor(EVENTS, after, until, self._pbx, MAX_EVENT_BYTES, prefetch=PREFETCH_ROWS)
                async for row in rows:
                    self._handle(row)
            after = until
        return after

    def _handle(self, row: asyncpg.Record) -> None:
        if row["name"] == "Connected":
            # The listener was away, so the log lacks the events of that time.
            for open_run in self._runs.values():
                if open_run.is_waiting:
                    open_run.doubt()
            return
        recorded = RecordedEvent(
            row["position"], self._pbx, row["source"], row["name"], row["at"], row["raw"], row["recorded"]
        )
        if row["name"] == "AttendedTransfer":
            self._move(DecodedEvent(recorded).convert(AttendedTransfer))
            return
        event: AsyncAgiEvent = DecodedEvent(recorded).convert(AsyncAgiEvent)
        run = self._runs.get(event.unique_id)
        if run is not None and run.start >= event.position:
            return  # of an earlier run of this channel: a new commander starts reading before the run
        if row["name"] != "AsyncAGIStart":
            if run is not None:
                run.apply(row["name"], event)
            return
        master = master_of(event)
        is_recent = row["age"] <= MAX_AGE_SECONDS and abs(row["late"]) <= MAX_AGE_SECONDS
        if master is not None and is_recent and event.position not in self._started:
            if len(self._runs) >= MAX_RUNS:
                logger.warning("agi_runs_full", pbx=self._pbx, channel=event.channel[:200], runs=len(self._runs))
                return
            self._start_run(Run(str(uuid.uuid4()), event.channel, event.unique_id, master, event.position))

    def _start_run(self, run: Run) -> None:
        previous = self._runs.get(run.unique_id)
        if previous is not None:
            previous.leave()
        self._runs[run.unique_id] = run
        self._new.append(run)

    def _move(self, event: AttendedTransfer) -> None:
        """Assign a run to the channel that replaces its channel in an attended transfer."""
        run, new = self._runs.get(event.replaced()), event.replacement()
        if run is not None and new.unique_id and run.start < event.position:
            self._forget(run)
            run.channel, run.unique_id = new.channel, new.unique_id
            self._runs[run.unique_id] = run

    async def _drive_new(self, connection: asyncpg.Connection, wake: asyncio.Event) -> None:
        """Start a driver for each new run whose channel is still there."""
        new, self._new = self._new, []
        for run in new:
            if not run.is_started:
                if run.is_over:
                    self._forget(run)
                    continue
                run.has_master, run.steps = await self._steps(connection, run.master)
            task = asyncio.create_task(self._drive(run))
            task.add_done_callback(lambda _: wake.set())
            self._driving[task] = run

    async def _steps(self, connection: asyncpg.Connection, master: str) -> tuple[bool, tuple[AgiStep, ...]]:
        """Return whether the master exists, and its commands in order, up to one that leaves AGI by itself."""
        rows = await connection.fetch(STEPS, master) if await connection.fetchval(MODELS_EXIST) else []
        steps: list[AgiStep] = []
        for row in rows:
            command = (row["command"] or "").strip()
            if command.upper().split() == BREAK.split():
                break
            if command:
                steps.append(AgiStep(row["uuid"], row["sequence"], row["name"], command))
        return bool(rows), tuple(steps)

    async def _drive(self, run: Run) -> None:
        if not run.is_started:
            await self._append(
                AgiRunStarted(run.id, run.channel, run.unique_id, run.master, run.start, run.has_master, run.steps)
            )
            run.is_started = True
        await self._driver.drive(run)

    def _reap(self) -> None:
        """Forget the runs that have ended. Raises the errors of their drivers."""
        for task in [task for task in self._driving if task.done()]:
            self._forget(self._driving.pop(task))
            task.result()

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.unique_id) is run:
            del self._runs[run.unique_id]
