"""Positions: the events that began, changed or ended each item of a call."""

from projections.calls.calls import CALLS
from projections.calls.story.positions import MOST_POSITIONS, CallPositions
from projections.engine.trace import Trace
from tests.support.folding import recorded_all
from tests.support.scene import Scene, uid


def positions_of(scene: Scene, *aliases: int) -> tuple[dict[str, list[list[str]]], dict[str, list[list[int]]]]:
    """Fold a scene whose call has these aliases; return the names of the events of each item, and their positions."""
    events = list(recorded_all(scene.events))
    trace = Trace(CALLS, frozenset(("pbx", uid(number)) for number in (1, *aliases)))
    trace.fold(events)
    positions = CallPositions()
    for step in trace.steps:
        positions.add(step)
    row = trace.rows["pbx", uid(1)]
    made = positions.of(row)  # type: ignore[arg-type]
    names = {event.position: event.name for event in events}
    return {name: [[names[position] for position in one] for one in items] for name, items in made.items()}, made


def test_a_call_of_two_names_its_events() -> None:
    names, _ = positions_of(Scene().talk(3).part(1, 2))
    assert names["rings"] == [["DialBegin", "Newstate", "DialEnd"]]
    assert names["conversations"] == [["BridgeEnter", "BridgeLeave"]]
    assert [(leg[0], leg[-1]) for leg in names["legs"]] == [("Newchannel", "Hangup")] * 2
    assert names["transfers"] == names["queues"] == []


def test_another_name_of_a_person_is_no_change() -> None:
    scene = Scene().talk(3)
    plain, _ = positions_of(Scene().talk(3).part(1, 2))
    names, _ = positions_of(scene.number(2, "777", "Other").part(1, 2))
    assert (names["rings"], names["conversations"]) == (plain["rings"], plain["conversations"])


def test_a_merge_keeps_the_positions_of_both() -> None:
    scene = Scene().talk(3).new(3, "PJSIP/101-00000003", "101", exten="102")
    scene.ring(3, 4, "PJSIP/102-00000004", "102", linked=3).answer(3, 4, "c").wait(2)
    alone = len(scene.events)
    scene.leave(2, "b").leave(3, "c").link(1, 3, 4).enter(4, "b", swap=2).hangup(2, 3).wait(2).part(1, 4)
    names, made = positions_of(scene, 3)
    assert names["rings"] == [["DialBegin", "Newstate", "DialEnd"]] * 2
    assert max(made["rings"][1]) <= alone
    assert len(names["conversations"]) == 3
    assert all(one[-1] in {"BridgeLeave", "BridgeEnter"} for one in names["conversations"])


def test_an_item_has_a_bounded_number_of_positions() -> None:
    scene = Scene().talk(3)
    for _ in range(MOST_POSITIONS):
        scene.leave(2, "b").enter(2, "b")  # a lapse of a moment is no new conversation
    end = len(scene.events) + 2  # after the request of the hangup
    (talk,) = positions_of(scene.part(1, 2))[1]["conversations"]
    assert (len(talk), talk, talk[-1]) == (MOST_POSITIONS, sorted(set(talk)), end)
