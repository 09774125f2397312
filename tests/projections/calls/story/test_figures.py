"""The rows that follow from a call: passages, rings of agents, ids and tags."""

from collections import Counter
from typing import Any

import pytest

from projections.calls.call_rows import CallRow
from projections.calls.story.tags import ids_of, tags_of
from projections.queues.figures import passages_of, rings_of
from tests.captures import truth
from tests.projections.calls.story.recorded import NAMES, table_of
from tests.projections.calls.story.scenes import MEMBER, blind, complete, connected, queue, rung, waiting
from tests.support.calls import CallTable
from tests.support.scene import Scene, uid


def row_of(scene: Scene) -> CallRow:
    (row,) = CallTable().take(scene.events).read()
    return row


def test_a_ring_of_each_member() -> None:
    scene = rung(waiting()).dial_end(1, 2, "NOANSWER")
    queue(scene, "AgentRingNoAnswer", 1, 2, **MEMBER, RingTime=3000).hangup(2)
    connected(rung(scene, 3), 3).wait(2).emit("Hold", **scene.shown(3)).wait(1.5).emit("Unhold", **scene.shown(3))
    row = row_of(complete(scene, 4, "agent", 3).part(3, 1))
    assert [(r.agent, r.outcome, r.talk_seconds, r.hold_seconds) for r in rings_of(row)] == [
        ("Bob Baker", "ring_no_answer", 0.0, 0.0),
        ("Bob Baker", "answered", 4.0, 1.5),
    ]
    (passage,) = passages_of(row)
    assert (passage.outcome, passage.agent, passage.talk_seconds, passage.ring_no_answers) == (
        "answered",
        "Bob Baker",
        4.0,
        1,
    )


def test_a_member_who_hands_the_caller_on() -> None:
    scene = connected(rung(waiting())).wait(3)
    blind(scene, by=2, transferee=1, to="107")
    scene = complete(scene, 3, "transfer").leave(2, "b").leave(1, "b").hangup(2).wait(2).hangup(1)
    row = row_of(scene)
    assert [r.is_transferred for r in rings_of(row)] == [True]
    assert [p.is_transferred for p in passages_of(row)] == [True]


def completed_late(scene: Scene) -> Scene:
    """Let the last Hangup overtake AgentComplete, as two threads of Asterisk do."""
    scene.events.sort(key=lambda event: event.name == "AgentComplete")
    return scene


@pytest.mark.parametrize("reason", ["caller", "agent", "transfer"])
def test_a_completion_after_the_last_hangup_counts(reason: str) -> None:
    def served() -> Scene:
        return complete(connected(rung(waiting())).wait(8).request(1), 9, reason).part(1, 2)

    early, late = row_of(served()), row_of(completed_late(served()))
    assert (late.body, late.passages, late.agent_rings) == (early.body, early.passages, early.agent_rings)
    assert [(p.talk_seconds, p.is_transferred) for p in passages_of(late)] == [(9.0, reason == "transfer")]
    completed_late(served()).calls()


def test_a_late_completion_keeps_an_unnoticed_transfer() -> None:
    def served() -> Scene:
        scene = blind(connected(rung(waiting())).wait(3), by=2, transferee=1, to="107")
        scene.leave(2, "b").leave(1, "b").hangup(2).wait(1)
        return complete(scene, 4, "caller").request(1).hangup(1)

    early, late = row_of(served()), row_of(completed_late(served()))
    assert (late.body, late.passages, late.agent_rings) == (early.body, early.passages, early.agent_rings)
    assert [(round(p.talk_seconds, 1), p.is_transferred) for p in passages_of(late)] == [(3.0, True)]


def test_ids_and_tags_of_open_and_ended_calls() -> None:
    scene = connected(rung(waiting())).wait(3)
    lasting = row_of(scene)
    ended = row_of(complete(scene, 3, "caller").part(1, 2))
    for row in (lasting, ended):
        assert [one.id for one in ids_of(row)] == [uid(1), uid(2)]
        assert {(tag.kind, tag.value) for tag in tags_of(row)} == {
            ("number", "5550101"),
            ("number", "600"),
            ("number", "101"),
            ("endpoint", "PJSIP/trunk"),
            ("endpoint", "PJSIP/101"),
            ("queue", "sales"),
            ("agent", "Bob Baker"),
            ("agent", "PJSIP/101"),
        }


def test_numbers_of_tags_are_digits() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "+49 30-123", exten="5550100").number(1, "anonymous").hangup(1)
    values = [tag.value for tag in tags_of(row_of(scene)) if tag.kind == "number"]
    assert values == ["4930123", "5550100"]


@pytest.mark.parametrize("name", NAMES)
def test_rings_of_agents_equal_queue_log(name: str) -> None:
    lines = [line.split("|") for line in truth(name, "queue_log").splitlines()]
    logged = Counter((line[3], line[4]) for line in lines if line[4] in {"CONNECT", "RINGNOANSWER"})
    words: dict[Any, str] = {"answered": "CONNECT", "ring_no_answer": "RINGNOANSWER"}
    rings = [ring for row in table_of(name).read() for ring in rings_of(row)]
    assert Counter((r.agent, words[r.outcome]) for r in rings if r.outcome in words) == logged
    # AgentCalled comes 34 times in each recording.
    assert len(rings) == 34
