"""Calls of AMI to which queue_log adds the passages that the class agent would have, and words of the dialplan."""

from typing import Any

import msgspec
import pytest

from projections.calls.call_rows import CallRow
from projections.calls.story.row import call_of
from schemas.log import Disconnected, NewEvent
from tests.projections.calls.story.scenes import complete, connected, handed_on, rung, waiting
from tests.support.calls import CallTable
from tests.support.queue_log_events import queue_log_event
from tests.support.scene import BEGIN, UP, Scene, uid

CLASS_AGENT = ("Queue", "Agent")


def line(after: float, rest: str, call: int = 1) -> NewEvent:
    return queue_log_event(f"{BEGIN + after}|{uid(call)}|sales|{rest}")


def without_class_agent(scene: Scene) -> list[NewEvent]:
    return [event for event in scene.events if not event.name.startswith(CLASS_AGENT)]


def story(row: CallRow) -> dict[str, Any]:
    call: dict[str, Any] = msgspec.to_builtins(call_of(row))
    del call["sources"]
    return call | {"passages": row.passages, "rings": row.agent_rings}


def merged(ami: list[NewEvent], log: list[NewEvent]) -> CallTable:
    """Fold both in each order, with a restart after each event: all must give the same call."""
    middle = len(ami) // 2
    orders = [
        [*ami, *log],
        [*log, *ami],
        [*log[:1], *ami, *log[1:]],
        [*log[:1], *ami[:middle], *log[1:], *ami[middle:]],
        [*ami[:middle], *log, *ami[middle:]],
    ]
    tables = []
    for events in orders:
        table = CallTable()
        for event in events:
            table.take(event).restart()
        tables.append(table)
    rows = [table.read() for table in tables]
    assert [len(one) for one in rows] == [1] * len(orders)
    stories = [story(one) for (one,) in rows]
    assert all(story == stories[0] for story in stories)
    return tables[0]


HANDED_ON = [
    line(0, "NONE|ENTERQUEUE||5550101|1"),
    line(13, f"Bob Baker|CONNECT|13|{uid(2)}|3"),
    line(81, "Bob Baker|COMPLETECALLER|13|68|1"),
]


def test_a_hand_over_ends_the_logged_talk() -> None:
    """The file counts until the caller hangs up; AMI has the agent's own last conversation."""
    alone = CallTable().take(HANDED_ON).call()
    assert [(q.talk_seconds, q.ended_by) for q in alone.queues] == [(68, "caller")]
    table = merged(without_class_agent(handed_on()), HANDED_ON)
    call = table.call()
    (passage,) = call.queues
    assert (round(passage.talk_seconds or 0), passage.ended_by, passage.wait_seconds) == (8, "transfer", 13)
    assert passage.party is not None
    assert (passage.party.number, passage.party.channel) == ("5550101", "PJSIP/trunk-00000001")
    assert [(p.number, p.role) for p in call.parties if p.role == "agent"] == [("101", "agent")]
    (row,) = table.read()
    assert [(r["agent"], round(r["talk_seconds"]), r["is_transferred"]) for r in row.agent_rings] == [
        ("Bob Baker", 8, True)
    ]


def test_the_class_agent_counts_before_the_file() -> None:
    table = merged(handed_on().events, HANDED_ON)
    assert table.call().sources == ["ami", "queue_log"]
    assert story(table.read()[0]) == story(CallTable().take(handed_on().events).read()[0])


def test_a_passage_that_ami_has_not() -> None:
    """The link was lost while the caller was in the queue before."""
    scene = complete(connected(rung(waiting())).wait(8).request(1), 8, "caller").part(1, 2)
    lines = [
        line(-60, "NONE|ENTERQUEUE||5550101|1"),
        line(-55, "Ann|RINGNOANSWER|4000"),
        line(-30, "NONE|EXITWITHTIMEOUT|1|1|30"),
        line(0, "NONE|ENTERQUEUE||5550101|1"),
        line(13, f"Bob Baker|CONNECT|13|{uid(2)}|3"),
    ]
    call = merged(scene.events, lines).call()
    assert [(q.outcome, q.wait_seconds, q.ring_no_answers) for q in call.queues] == [
        ("timeout", 30, 1),
        ("answered", 13, 0),
    ]


def test_the_outcome_follows_from_queue_log() -> None:
    scene = waiting(10).run(1, "Hangup").hangup(1)
    lines = [line(0, "NONE|ENTERQUEUE||5550101|1"), line(10, "NONE|EXITWITHTIMEOUT|1|1|10")]
    assert CallTable().take(without_class_agent(scene)).call().outcome == "pbx_only"
    assert merged(without_class_agent(scene), lines).call().outcome == "timeout"


def test_a_passage_without_its_end_is_unknown() -> None:
    scene = waiting(10).run(1, "Hangup").hangup(1)
    (passage,) = merged(without_class_agent(scene), [line(0, "NONE|ENTERQUEUE||5550101|1")]).call().queues
    assert passage.outcome == "unknown"


def test_an_agent_behind_a_local_channel() -> None:
    scene = waiting().local(2, 3, "Local/101@members-0001", linked=1, optimize="No").dial(1, 2)
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1).wait(2).answer(3, 4, "b2").state(2, UP)
    scene.dial_end(1, 2, "ANSWER").enter(2, "b").enter(1, "b").wait(5)
    scene.request(4).leave(4, "b2").leave(3, "b2").leave(2, "b").leave(1, "b").hangup(4, 3, 2, 1)
    lines = [line(12, f"Bob|CONNECT|12|{uid(2)}|2"), line(17, "Bob|COMPLETEAGENT|12|5|1")]
    call = merged(without_class_agent(scene), lines).call()
    assert [(p.number, p.role) for p in call.parties] == [("5550101", "caller"), ("101", "agent")]


@pytest.mark.parametrize("place", range(4))
def test_words_of_the_dialplan_count_once(place: int) -> None:
    """AMI's Newexten and the line of the file are one."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "5550101", exten="600").state(1, UP)
    events = scene.run(1, "QueueLog", f"sales,{uid(1)},NONE,CLOSED,").hangup(1).events
    table = CallTable()
    for event in [*events[:place], line(0, "NONE|CLOSED|"), *events[place:]]:
        table.take(event).restart()
    assert [(q.queue, q.outcome, q.wait_seconds) for q in table.call().queues] == [("sales", "closed", None)]


def test_a_wrapup_belongs_to_the_agents_call() -> None:
    scene = complete(connected(rung(waiting())).wait(8).request(1), 8, "caller").part(1, 2)
    lines = [line(13, f"Bob Baker|CONNECT|13|{uid(2)}|3"), line(21, "Bob Baker|WRAPUPSTART|15")]
    table = merged(scene.events, lines)
    assert [(r["agent"], r["wrapup_seconds"]) for r in table.read()[0].agent_rings] == [("Bob Baker", 15)]


def test_the_file_has_the_end_of_passages() -> None:
    """AMI has the entry alone: the link was lost while the caller waited, and a list lacks him later."""
    scene = rung(waiting(5)).own(Disconnected("closed", BEGIN + 9)).wait(300).snapshot()
    lines = [
        line(0, "NONE|ENTERQUEUE||5550101|1"),
        line(4, "Ann|RINGNOANSWER|3000"),
        line(13, f"Bob Baker|CONNECT|13|{uid(2)}|8"),
        line(81, "Bob Baker|COMPLETECALLER|13|68|1"),
    ]
    assert [q.outcome for q in CallTable().take(scene.events).call().queues] == ["unknown"]
    table = merged(scene.events, lines)
    (passage,) = table.call().queues
    assert (passage.outcome, passage.wait_seconds, passage.talk_seconds, passage.ring_no_answers) == (
        "answered",
        13,
        68,
        1,
    )
    assert [(r["agent"], r["outcome"], r["talk_seconds"]) for r in table.read()[0].agent_rings] == [
        ("Ann", "ring_no_answer", 0),
        ("Bob Baker", "answered", 68),
    ]
