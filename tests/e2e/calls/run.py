"""The checks of a run: the calls of many scenes agree with Asterisk's other records, and with themselves."""

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Self

import msgspec

from projections.calls.calls import CALLS
from projections.engine.headers import headers_of
from projections.engine.subscriptions import event_names_of
from schemas.calls import Call
from schemas.log import RecordedEvent
from services.log.read import read_events, recorded_event
from services.projector.rebuild.diff import differences
from services.projector.rebuild.report import lines
from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.scene import active_calls, channels_of, open_channels
from tests.e2e.files import queue_log
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CHANNELS
from tests.support.billing import coverage_of
from tests.support.folding import FoldSpec
from tests.support.queue_log_truth import NEVER_IN, QueueLog, read_queue_log
from tests.support.recorded_events import cut

ROWS = "SELECT linkedid, is_told, number, body::text AS body FROM calls WHERE pbx = $1 ORDER BY number"
FOLDED = "SELECT position FROM checkpoint WHERE place = 'model' AND model = 'calls'"
AGENTS = """
SELECT r.agent,
       count(*) FILTER (WHERE r.outcome = 'answered') AS answered,
       count(*) FILTER (WHERE r.outcome = 'ring_no_answer') AS ring_no_answers
FROM agent_rings r JOIN calls c ON c.pbx = r.pbx AND c.linkedid = r.linkedid
WHERE r.pbx = $1 AND c.number > $2 AND r.outcome IN ('answered', 'ring_no_answer')
GROUP BY r.agent
"""
LONGEST_BATCH = 300


class Run:
    """The calls at one PBX from `start` to `check`. Asterisk is at rest at both.

    ``calls`` are those of the run, ``rows`` and ``events`` all of the log until the position that ``rows`` have folded.
    """

    def __init__(self, asterisk: Asterisk, ledger: Ledger, pbx: str = "pbx") -> None:
        self.asterisk, self.ledger, self.pbx = asterisk, ledger, pbx

    async def start(self) -> Self:
        """Note the place in the log and in queue_log."""
        self.position = await self.ledger.caught_up(self.asterisk)
        self._length = len(await queue_log(self.asterisk))
        return self

    async def check(self) -> None:
        """Fail unless all `CHECKS` pass."""
        await self.asterisk.wait_idle()
        await self.ledger.caught_up(self.asterisk)
        async with self.ledger.connection.transaction(isolation="repeatable_read"):
            rows = await self.ledger.rows(ROWS, self.pbx)
            until = await self.ledger.connection.fetchval(FOLDED)
            self.events = await self._events(until)
        self.rows = {row["linkedid"]: msgspec.json.decode(row["body"] or "null") for row in rows}
        bodies = [self.rows[row["linkedid"]] for row in rows if row["is_told"] and row["number"] > self.position]
        assert None not in bodies, "a call lasts, though Asterisk is at rest"
        self.calls = [msgspec.convert(body, Call, strict=False) for body in bodies]
        self.queue_log = read_queue_log((await queue_log(self.asterisk))[self._length :])
        for check in CHECKS:
            await check(self)

    async def _events(self, until: int) -> list[RecordedEvent]:
        names = sorted(event_names_of(CALLS))
        events: list[RecordedEvent] = []
        while not events or events[-1].position < until:
            after = events[-1].position if events else 0
            events += map(recorded_event, await read_events(self.ledger.connection, after, until, names))
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
        if event.name == "Cdr" and event.position > run.position:
            record = headers_of(event)
            call = run.by_id.get(record["UniqueID"]) or run.by_id[record["LinkedID"]]
            coverage_of(record, call, run.calls)


async def check_figures(run: Run) -> None:
    """The figures of queues and agents are those of queue_log; they differ where an agent's feature code transfers.

    The queue does not notice such a transfer, and counts the talk until the caller's end.
    """
    ours, theirs = passages_of(run.calls), passages_of_log(run.queue_log)
    assert ours.keys() == theirs.keys()
    for key, ends in ours.items():
        for end, (their_reason, their_talk) in zip(sorted(ends), sorted(theirs[key]), strict=True):
            reason, talk = end
            is_unnoticed = reason == "transfer" and their_reason != "transfer"
            assert (talk <= their_talk) if is_unnoticed else end == (their_reason, their_talk), key
    rings = {row["agent"]: tuple(row)[1:] for row in await run.ledger.rows(AGENTS, run.pbx, run.position)}
    assert rings == {
        name: (agent.answered, agent.ring_no_answers)
        for name, agent in run.queue_log.agents.items()
        if agent.answered or agent.ring_no_answers
    }


Ends = dict[tuple[Any, ...], list[tuple[str, float]]]
"""How the talks of passages ended, (by whom, seconds of talk), by all else that queue_log has about a passage."""


def passages_of(calls: list[Call]) -> Ends:
    """Return the passages of calls, without those of which Asterisk writes no line: the queue refused the caller."""
    ends: Ends = defaultdict(list)
    for one in [passage for call in calls for passage in call.queues if passage.outcome not in NEVER_IN]:
        agent = one.agent.name if one.agent else ""
        key = (one.queue, one.outcome, one.position, one.wait_seconds, agent, one.key or "", one.ring_no_answers)
        ends[key].append((one.ended_by or "", one.talk_seconds or 0))
    return ends


def passages_of_log(log: QueueLog) -> Ends:
    """Return the passages of queue_log in the same form."""
    ends: Ends = defaultdict(list)
    for one in [passage for passage in log.passages if passage.outcome not in NEVER_IN]:
        key = (one.queue, one.outcome, one.position, one.wait_seconds, one.agent, one.key, one.ring_no_answers)
        ends[key].append((one.ended_by, one.talk_seconds or 0))
    return ends


CHECKS: tuple[Callable[[Run], Awaitable[None]], ...] = (
    check_rebuild,
    check_cuts,
    check_open_calls,
    check_records,
    check_figures,
)
"""Each fails with what differs. A comparison with CEL belongs at the end."""
