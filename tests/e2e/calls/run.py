"""The checks of a run: the calls of many scenes agree with Asterisk's other records, and with themselves."""

import random
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Self

import msgspec

from projections.calls.calls import CALLS
from projections.engine.headers import headers_of
from projections.engine.subscriptions import event_names_of
from schemas.calls import Call
from schemas.log import RecordedEvent
from services.log.read import head_position, read_events, recorded_event
from services.projector.rebuild.diff import differences
from services.projector.rebuild.report import lines
from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.cel import SETTINGS, calls_of_cel, check_cel_calls, ended_channels, lines_of_cel
from tests.e2e.calls.figures import agreed_passages, compare_statistics, ring_no_answers
from tests.e2e.calls.scene import active_calls, channels_of, open_channels
from tests.e2e.files import cel_csv, queue_log
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CHANNELS
from tests.support.billing import coverage_of
from tests.support.folding import FoldSpec
from tests.support.polling import present
from tests.support.queue_log_truth import read_queue_log
from tests.support.recorded_events import cut

ROWS = "SELECT linkedid, is_told, number, body::text AS body FROM calls WHERE pbx = $1 ORDER BY number"
FOLDED = "SELECT position FROM checkpoint WHERE place = 'model' AND model = 'calls'"
LONGEST_BATCH = 300


class Run:
    """The calls at one PBX from `start` to `check`. Asterisk is at rest at both.

    ``calls`` are those of the run, ``rows`` and ``events`` all of the log until the position that ``rows`` have folded.
    """

    def __init__(self, asterisk: Asterisk, ledger: Ledger, pbx: str = "pbx") -> None:
        self.asterisk, self.ledger, self.pbx = asterisk, ledger, pbx

    async def start(self) -> Self:
        """Note the place in the log, in queue_log and in the file of CEL."""
        self.position = await self.ledger.caught_up(self.asterisk)
        self._length = len(await queue_log(self.asterisk))
        self._cel_length = len(await cel_csv(self.asterisk))
        return self

    async def check(self) -> None:
        """Fail unless all `CHECKS` pass."""
        await self.asterisk.wait_idle()
        await self.ledger.caught_up(self.asterisk)
        async with self.ledger.connection.transaction(isolation="repeatable_read"):
            rows = await self.ledger.rows(ROWS, self.pbx)
            until = await self.ledger.connection.fetchval(FOLDED)
            self.events = await self._events(until, event_names_of(CALLS))
        self.rows = {row["linkedid"]: msgspec.json.decode(row["body"] or "null") for row in rows}
        bodies = [self.rows[row["linkedid"]] for row in rows if row["is_told"] and row["number"] > self.position]
        assert None not in bodies, "a call lasts, though Asterisk is at rest"
        self.calls = [msgspec.convert(body, Call, strict=False) for body in bodies]
        self.queue_log = read_queue_log((await queue_log(self.asterisk))[self._length :])
        for check in CHECKS:
            await check(self)

    async def cel_events(self) -> list[RecordedEvent]:
        """Return the events CEL of the run."""
        until = await head_position(self.ledger.connection)
        return await self._events(until, {"CEL"}, self.position)

    async def cel_lines(self) -> list[RecordedEvent]:
        """Return the lines of the run in Asterisk's file of CEL."""
        return lines_of_cel(self.pbx, (await cel_csv(self.asterisk))[self._cel_length :])

    async def _events(self, until: int, names: frozenset[str] | set[str], after: int = 0) -> list[RecordedEvent]:
        events: list[RecordedEvent] = []
        while after < until:
            rows = await read_events(self.ledger.connection, after, until, sorted(names))
            events += map(recorded_event, rows)
            after = events[-1].position
        return [event for event in events if event.name in names]

    @cached_property
    def by_id(self) -> dict[str, Call]:
        """The calls by every id."""
        return {
            unique_id: call
            for call in self.calls
            for unique_id in (call.linkedid, *call.aliases, *(leg.unique_id for leg in call.legs))
        }


async def check_rebuild(run: Run) -> None:
    """A rebuild of calls, and of all that is derived from them, changes nothing."""
    assert lines(await differences(run.ledger.url, [CALLS]))[-1].endswith(": nothing differs")


async def check_cuts(run: Run) -> None:
    """Batches of other sizes, each with a restart, give the rows that are served."""
    spec = FoldSpec(CALLS, restarts=True)
    seed = random.randrange(1 << 32)
    for batch in cut(run.events, LONGEST_BATCH, seed):
        spec.given(batch, run.pbx)
    spec.check_derived()
    assert {row.linkedid: row.body for row in spec.then(pbx=run.pbx).values()} == run.rows, f"seed {seed}"


async def check_open_calls(run: Run) -> None:
    """As many calls last as `core show calls` has: none. All channels have ended."""
    lasting = [call for call in run.calls if call.state != "ended"]
    assert len(lasting) == await active_calls(run.asterisk) == 0
    assert open_channels(run.calls) == channels_of(await CHANNELS.asterisk(run.asterisk)) == set()


async def check_records(run: Run) -> None:
    """Each call's conversations cover the billable seconds of its call records."""
    for event in run.events:
        if event.name == "Cdr" and event.pbx == run.pbx and event.position > run.position:
            record = headers_of(event)
            call = run.by_id.get(record["UniqueID"]) or run.by_id[record["LinkedID"]]
            coverage_of(record, call, run.calls)


async def check_cel(run: Run) -> None:
    """CEL alone, by AMI's event or from its file, gives the calls that AMI has from start to end.

    Its fold gets no list: it lacks the items that give a call to AMI. Lines of CEL may come after the last Hangup.
    """
    whole = [call for call in run.calls if call.complete]
    settings = [event for event in run.events if event.name in SETTINGS]
    channels = {leg.unique_id for call in whole for leg in call.legs}
    for read in (run.cel_events, run.cel_lines):

        async def whole_lines(read: Callable[[], Awaitable[list[RecordedEvent]]] = read) -> list[RecordedEvent] | None:
            events = await read()
            return events if channels <= ended_channels(events) else None

        cel = await present(whole_lines, "CEL has the ends of all channels")
        check_cel_calls(whole, calls_of_cel(run.pbx, [*settings, *cel]))


async def check_figures(run: Run) -> None:
    """Passages, and the figures of queues and agents, are those of queue_log."""
    passages = agreed_passages(run.calls, run.by_id, run.queue_log)
    await compare_statistics(run.ledger, run.pbx, run.calls, passages)
    assert await ring_no_answers(run.ledger, run.pbx, run.calls) == {
        name: agent.ring_no_answers for name, agent in run.queue_log.agents.items() if agent.ring_no_answers
    }


CHECKS: tuple[Callable[[Run], Awaitable[None]], ...] = (
    check_rebuild,
    check_cuts,
    check_open_calls,
    check_records,
    check_figures,
    check_cel,
)
"""Each fails with what differs."""
