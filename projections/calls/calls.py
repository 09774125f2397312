"""Calls as their people experienced them: the rows, their ids and tags, and the figures of queues and agents.

`projections/calls/story/` is the machine that folds them.
"""

from collections.abc import Callable

from projections.calls.call_rows import (
    CALL_ID_INDEXES,
    CALL_ID_KEY,
    CALL_INDEXES,
    CALL_TAG_INDEXES,
    CALL_TAG_KEY,
    CallId,
    CallRow,
    CallTag,
)
from projections.calls.story.call_machine import CallMachine
from projections.calls.story.dialplan import is_of_calls
from projections.calls.story.machine import shapes
from projections.calls.story.tags import ids_of, tags_of
from projections.engine.derived import Parts, Sums
from projections.engine.model import Input, ReadModel
from projections.queues import figures


def _queue_sums(name: str, of: Callable[[CallRow], list[figures.QueueSum]]) -> Sums:
    return Sums(
        name,
        figures.QueueSum,
        figures.QUEUE_SUM_KEY,
        of,
        figures.add_queue,
        figures.subtract_queue,
        figures.QUEUE_SUM_INDEXES,
    )


def _agent_sums(name: str, of: Callable[[CallRow], list[figures.AgentSum]]) -> Sums:
    return Sums(
        name,
        figures.AgentSum,
        figures.AGENT_SUM_KEY,
        of,
        figures.add_agent,
        figures.subtract_agent,
        figures.AGENT_SUM_INDEXES,
    )


NEEDED = {"VarSet": is_of_calls}
"""Which of the events of a name the machine takes."""

CALLS = ReadModel(
    name="calls",
    version=3,
    row=CallRow,
    key=("linkedid",),
    is_state=False,
    on={name: Input(shape, NEEDED.get(name)) for name, shape in shapes().items()},
    machine=CallMachine,
    end_column="ended_at",
    lookup="call_ids",
    number_column="number",
    indexes=CALL_INDEXES,
    derived=(
        Parts("call_ids", CallId, CALL_ID_KEY, ids_of, CALL_ID_INDEXES),
        Parts("call_tags", CallTag, CALL_TAG_KEY, tags_of, CALL_TAG_INDEXES),
        Parts(
            "queue_passages", figures.QueuePassage, figures.PASSAGE_KEY, figures.passages_of, figures.PASSAGE_INDEXES
        ),
        Parts("agent_rings", figures.AgentRing, figures.RING_KEY, figures.rings_of, figures.RING_INDEXES),
        _queue_sums("queue_quarters", figures.queue_quarters_of),
        _queue_sums("queue_hours", figures.queue_hours_of),
        _agent_sums("agent_quarters", figures.agent_quarters_of),
        _agent_sums("agent_hours", figures.agent_hours_of),
    ),
)
