"""Calls of CEL alone: channels, rings, bridges of new and old systems, queues, recordings."""

from typing import Any

import pytest

from schemas.ami.cel import OLD_NAMES
from schemas.calls import Call
from schemas.cel_columns import DEFAULT, CelColumns
from tests.projections.calls.story.cel_scene import CelScene
from tests.support.calls import CallTable, reasons
from tests.support.folding import own
from tests.support.scene import BEGIN, uid


def at(seconds: float) -> Any:
    return pytest.approx(BEGIN + seconds, abs=0.01)


def talks(call: Call) -> list[list[str | None]]:
    return [[party.number for party in talk.parties] for talk in call.conversations]


@pytest.mark.parametrize("is_file", [True, False])
def test_a_call_from_start_to_end(*, is_file: bool) -> None:
    scene = CelScene(is_file=is_file)
    call = scene.talk(5).leave(2, "b").leave(1, "b").end(2, by=2).end(1, by=2, status="ANSWER").call()
    assert (call.sources, call.state, call.outcome, call.complete) == (["cel"], "ended", "answered", True)
    assert call.caller is not None
    assert (call.caller.number, call.dialled.number) == ("100", "101")
    assert [(r.from_ and r.from_.number, r.to.number, r.outcome) for r in call.rings] == [("100", "101", "answered")]
    assert talks(call) == [["100", "101"]]
    assert call.conversations[0].seconds == pytest.approx(5, abs=0.01)
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.cause) == ("callee", 16)
    assert call.started_at.timestamp() == BEGIN


@pytest.mark.parametrize("peer", ["PJSIP/101-00000002", ""])
def test_channels_without_bridge_ids_belong_together(peer: str) -> None:
    scene = CelScene(DEFAULT[:18]).ring().wait(1).emit("ANSWER", 2)
    scene.enter(2, "").enter(1, "", peer=peer).wait(4)
    scene.start(3, "PJSIP/102-00000003", "102", exten="103").start(4, "PJSIP/103-00000004", "103", linked=3)
    scene.enter(4, "").enter(3, "").wait(2).leave(1).leave(2).end(2, 1)
    first, second = scene.calls().values()
    assert talks(first) == [["100", "101"]]
    assert first.conversations[0].seconds == pytest.approx(6, abs=0.01)
    assert (talks(second), second.state) == ([["102", "103"]], "talking")


@pytest.mark.parametrize("peer", ["PJSIP/101-00000002", ""])
def test_old_bridges_of_the_caller_have_both(peer: str) -> None:
    """Asterisk 1.8 and 11 log a bridge of the caller alone; the other end is the channel that answered."""
    scene = CelScene(DEFAULT[:18]).ring().wait(2).emit("ANSWER", 2).emit("ANSWER", 1)
    scene.emit("BRIDGE_START", 1, peer=peer).wait(3).emit("BRIDGE_END", 1, peer=peer)
    call = scene.wait(2).end(2, 1).call()
    assert talks(call) == [["100", "101"]]
    assert call.talk_seconds == pytest.approx(3, abs=0.01)


def test_parked_channels_without_bridge_ids_are_apart() -> None:
    scene = CelScene(DEFAULT[:18]).start(1, "PJSIP/100-00000001", "100", exten="700").emit("ANSWER", 1)
    scene.emit("PARK_START", 1).enter(1, "").start(2, "PJSIP/101-00000002", "101", linked=1).enter(2, "")
    call = scene.call()
    assert (talks(call), [stay.until for stay in call.parks]) == ([], [None])


def test_a_hangup_without_json_has_its_cause() -> None:
    scene = CelScene(DEFAULT).ring().wait(2)
    scene.emit("HANGUP", 2, eventextra="17,PJSIP/101-00000002,BUSY").emit("HANGUP", 1, eventextra="17,,BUSY")
    call = scene.call()
    assert ([r.outcome for r in call.rings], call.outcome) == (["busy"], "busy")


def test_a_long_extension_h_hides_no_hangup() -> None:
    call = CelScene().talk(5).leave(2, "b").leave(1, "b").end(2, by=2).wait(3).end(1, by=2, status="ANSWER").call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "101")


def test_a_forward_names_the_phone_that_rang() -> None:
    call = CelScene().ring().wait(1).emit("FORWARD", 1, {"forward": "Local/107@internal"}).end(2, 1).call()
    assert [(f.by.number, f.to) for f in call.forwards] == [("101", "107")]
    assert [ring.outcome for ring in call.rings] == ["forwarded"]


def test_a_recording_has_its_file() -> None:
    """Patched systems log recordings; a stop and start of one file is a pause."""
    facts = {"filename": "/rec/1.wav", "mixmonitor_id": "0x1"}
    scene = CelScene().talk(1).emit("MIXMONITOR_START", 1, facts).wait(2).emit("MIXMONITOR_STOP", 1, facts)
    scene.emit("MIXMONITOR_START", 1, facts).wait(2).leave(1, "b").leave(2, "b").end(1, 2)
    (recording,) = scene.call().recordings
    assert (recording.path, recording.party.number) == ("/rec/1.wav", "100")
    assert recording.ended_at is not None
    assert (recording.ended_at - recording.started_at).total_seconds() == pytest.approx(4, abs=0.01)


def test_the_last_user_field_of_the_caller_counts() -> None:
    scene = CelScene().ring().emit("ANSWER", 2, userfield="callee").emit("ANSWER", 1, userfield="first")
    scene.enter(2, "b").enter(1, "b", userfield="vip").wait(1)
    assert scene.end(2).end(1).call().user_field == "vip"


def test_unknown_events_change_nothing() -> None:
    scene = CelScene().talk(2)
    table = CallTable().take(scene.events)
    before = dict(table.rows)
    scene.events.clear()
    scene.emit("USER_DEFINED", 1, userdeftype="Survey").emit("Survey", 2, cidnum="999").emit("X", 1, linkedid=uid(99))
    scene.start(7, "Message/ast_msg_queue").emit("DTMF", 1, {"digit": "1"}).emit("STREAM_BEGIN", 2)
    assert table.take(scene.events).rows == before


def test_lines_have_the_columns_named_before_them() -> None:
    columns = ("eventtime", "eventtype", "linkedid", "uniqueid", "channame", "cidnum", "exten", "eventextra")
    usual = CelScene().talk(3).leave(1, "b").leave(2, "b").end(1, 2)
    other = CelScene(columns)
    other.events.append(own(CelColumns(columns), other.now))
    other.talk(3).leave(1, "b").leave(2, "b").end(1, 2)
    call, same = usual.call(), other.call()
    assert same.caller is not None
    assert (same.caller.number, talks(same), same.ended_at) == ("100", talks(call), call.ended_at)
    # The default counts again after an empty event.
    default = CelScene().start(8, "PJSIP/102-00000008", "102")
    table = CallTable().take(other.events, own(CelColumns(()), other.now), default.events)
    assert [call.linkedid for call in table.calls().values()] == [uid(1), uid(8)]


def test_old_imports_name_lines_by_their_types() -> None:
    scene = CelScene().talk(3).leave(1, "b").leave(2, "b").end(1, 2)
    call = scene.call()
    for number, event in enumerate(scene.events):
        kind = event.raw.split(b'"', 2)[1].decode()
        assert kind in OLD_NAMES
        scene.events[number] = type(event)(event.source, kind, event.occurred, event.recorded, event.raw)
    assert scene.call() == call


def test_an_end_of_an_alias_ends_nothing() -> None:
    scene = CelScene().talk(1).start(3, "PJSIP/101-00000003", "101", exten="102")
    scene.start(4, "PJSIP/102-00000004", "102", linked=3).emit("ANSWER", 4).enter(4, "c").enter(3, "c").wait(1)
    scene.emit("LINKEDID_END", 4).link(1, 3, 4).leave(3, "c")
    call = scene.call()
    assert (call.linkedid, call.aliases, call.state) == (uid(1), [uid(3)], "talking")
    scene.leave(1, "b").leave(2, "b").leave(4, "c").end(1, 2, 3).emit("HANGUP", 4).emit("LINKEDID_END", 4)
    assert scene.call().state == "ended"


def test_the_end_of_the_linked_id_ends_all() -> None:
    """A line about the end of a channel may be missing."""
    scene = CelScene().talk(1).leave(1, "b").leave(2, "b").end(1)
    assert scene.call().state != "ended"
    call = scene.emit("LINKEDID_END", 1).call()
    assert (call.state, [leg.ended_at is None for leg in call.legs]) == ("ended", [False, False])


def test_calls_of_a_running_file_are_not_complete() -> None:
    scene = CelScene().talk(1)
    scene.events = scene.events[4:]
    call = scene.leave(1, "b").leave(2, "b").end(1, 2).call()
    assert (call.complete, reasons(call), talks(call)) == (False, ["joined"], [["100", "101"]])
