"""A call has one story: that of the richest source that has it."""

from datetime import UTC, datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Passage
from projections.calls.story.log_overlap import all_passages
from projections.calls.story.log_passage import LogPassage
from projections.calls.story.pbx import Pbx, make_leg
from projections.calls.story.row import Ended
from projections.calls.story.spaces import Facts, Spaces, add_facts, find_story, hand_over, richer_story

AT = datetime(2026, 11, 22, tzinfo=UTC)


def begin(space: Pbx, position: int, linkedid: str, *unique_ids: str) -> OpenCall:
    call = space.call_of(linkedid, position, AT)
    for unique_id in unique_ids:
        space.add_leg(call, make_leg(unique_id, linkedid, f"PJSIP/10{unique_id[-1]}-{unique_id}", AT))
    return call


def end(space: Pbx, call: OpenCall) -> Ended:
    for leg in call.legs.values():
        leg.ended_at = AT + timedelta(seconds=9)
    space.drop(call)
    ended = Ended.of_call(call)
    for one in ended.ids():
        space.ended[one] = ended
    return ended


def test_a_richer_source_takes_an_open_call() -> None:
    spaces = Spaces("pbx")
    ami, cel, *_ = spaces.all
    story = begin(cel, 3, "9.1", "9.1", "9.2")
    story.user_field = "vip"
    call = begin(ami, 7, "9.1", "9.1")
    assert (call.number, call.source, call.others, call.user_field) == (3, "ami", ["cel"], "vip")
    assert call.inherited == ["9.2"]
    assert (cel.calls, cel.homes, cel.legs) == ({}, {}, {})
    assert find_story(spaces.all, "9.2") == (ami, call)
    assert call.legacy().ids == ["9.1", "9.2"]


def test_inherited_ids_go_to_their_own_call() -> None:
    spaces = Spaces("pbx")
    ami, cel, *_ = spaces.all
    begin(cel, 3, "9.1", "9.1", "9.5")
    heir, other = begin(ami, 7, "9.1", "9.1"), begin(ami, 8, "9.5", "9.5")
    assert (heir.inherited, ami.heirs) == ([], {})
    assert find_story(spaces.all, "9.5") == (ami, other)
    assert (other.number, other.others) == (8, [])


def test_a_richer_source_takes_an_ended_call() -> None:
    spaces = Spaces("pbx")
    ami, cel, *_ = spaces.all
    end(cel, begin(cel, 3, "9.4", "9.4", "9.5"))
    call = begin(ami, 7, "9.1", "9.1", "9.5")
    assert (call.number, call.others, call.inherited) == (3, ["cel"], ["9.4"])
    assert cel.ended == {}
    assert "9.4" in ami.dirty
    assert Ended.of_call(call).call.aliases == ["9.4"]


def test_a_poorer_source_hands_over_its_story() -> None:
    spaces = Spaces("pbx")
    ami, cel, log, _ = spaces.all
    call = begin(ami, 1, "9.1", "9.1")
    own = begin(cel, 5, "9.5", "9.5")
    assert richer_story(cel, "9.5", "9.1") == (ami, call)
    assert own.linkedid not in cel.calls
    assert call.inherited == ["9.5"]
    ended = end(ami, call)
    begin(log, 6, "9.6", "9.6").log_passages.append(LogPassage("sales", "9.6", AT, outcome="abandoned"))
    assert richer_story(log, "9.6", "9.1") == (ami, ended)
    assert ended.call.aliases == ["9.5", "9.6"]
    assert ended.call.sources == ["ami", "cel", "queue_log"]
    assert [(one.queue, one.outcome) for one in ended.call.queues] == [("sales", "abandoned")]
    assert [item["ordinal"] for item in ended.passages] == [0]
    assert ami.ended["9.6"] is ended


def test_a_session_is_found_by_its_channels_alone() -> None:
    ami, cel, *_ = Spaces("pbx").all
    begin(ami, 1, "9.1", "9.1").agent = "1001"
    assert richer_story(cel, "9.8", "9.1") is None
    assert richer_story(cel, "9.1", "9.1") is not None


def test_facts_of_the_caller_are_added() -> None:
    ami, *_ = Spaces("pbx").all
    call = begin(ami, 1, "9.1", "9.1", "9.2")
    call.legs["9.2"].is_dialled = True
    add_facts(ami, call, Facts("cel", AT, "9.2", "of the callee", "c"))
    assert (call.user_field, call.spare_account_code, call.others) == ("", "", ["cel"])
    add_facts(ami, call, Facts("cel", AT, "9.1", "vip", "sales"))
    add_facts(ami, call, Facts("cel", AT, "9.1"))
    ended = end(ami, call)
    assert (ended.call.user_field, ended.call.account_code) == ("vip", "sales")
    ami.dirty.clear()
    add_facts(ami, ended, Facts("cel", AT, "9.1", "vip", "other"))
    assert not ami.dirty
    add_facts(ami, ended, Facts("queue_log", AT, "9.1", "gold"))
    assert (ended.call.user_field, ended.call.account_code) == ("gold", "sales")
    assert ended.call.sources == ["ami", "cel", "queue_log"]


def test_the_richer_of_two_passages_counts() -> None:
    spaces = Spaces("pbx")
    call = begin(spaces.ami, 1, "9.1", "9.1")
    own = Passage("sales", "9.1", "9.1", AT)
    same, other = LogPassage("sales", "9.1", AT), LogPassage("sales", "9.1", AT + timedelta(seconds=9))
    call.passages, call.log_passages = [own], [same, other]
    assert [passage.log for passage in all_passages(call)] == [None, other]
    assert all_passages(call)[0] is own
    call.source = "cel"
    assert [passage.log for passage in all_passages(call)] == [same, other]


def test_a_conference_lasts_without_a_withdrawn_call() -> None:
    """Restarts make the same rooms, so who is alone has no open talk."""
    spaces = Spaces("pbx")
    ami, cel, *_ = spaces.all
    one, two = begin(cel, 1, "9.1", "9.1"), begin(cel, 2, "9.2", "9.2")
    for call in (one, two):
        leg = call.legs[call.linkedid]
        leg.bridge = "b"
        cel.bridges.setdefault("b", {})[call.linkedid] = None
    cel.fill_rooms()
    begin(ami, 3, "9.1", "9.1")
    assert (list(cel.bridges["b"]), cel.talking) == (["9.2"], {})
    hand_over(cel, two, ami, begin(ami, 4, "9.3", "9.3"))
    assert (cel.bridges, cel.calls) == ({}, {})
