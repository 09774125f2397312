"""Calls of CEL whose end is in no line, and lines that come by both ways of CEL."""

import pytest

from projections.calls.story.cel import links
from schemas.log import Connected, Disconnected, NewEvent, SnapshotListed, SnapshotStarted
from tests.projections.calls.story.cel_scene import CelScene
from tests.support.calls import CallTable, reasons
from tests.support.folding import own
from tests.support.scene import Scene, uid


def empty_list(epoch: int, now: float) -> list[NewEvent]:
    return [own(SnapshotStarted(epoch), now), own(SnapshotListed(epoch, "CoreShowChannels", "empty"), now)]


def test_a_restart_ends_the_calls_before_it() -> None:
    """The counter in unique ids begins again with Asterisk."""
    scene = CelScene().start(101, "PJSIP/100-00000101", "100", exten="101").wait(60)
    scene.channels[1] = scene.channels[101] | {"uniqueid": "1795309060.1", "linkedid": "1795309060.1"}
    scene.emit("CHAN_START", 1)
    before, after = scene.calls().values()
    assert (before.state, before.outcome, reasons(before)) == ("ended", "unknown", ["lost"])
    assert before.ended_at == before.started_at
    assert (after.linkedid, after.state) == ("1795309060.1", "pbx")


def test_channels_announced_in_another_order_end_nothing() -> None:
    scene = CelScene().start(101, "PJSIP/100-00000101", "100", exten="101").wait(1)
    scene.channels[99] = scene.channels[101] | {"uniqueid": "1795309001.99", "linkedid": "1795309001.99"}
    assert [call.state for call in scene.emit("CHAN_START", 99).calls().values()] == ["pbx", "pbx"]


def test_a_list_ends_a_call_it_lacks() -> None:
    scene = CelScene(is_file=False).talk(2)
    scene.events += [own(Disconnected("test", scene.now), scene.now), own(Connected("pbx"), scene.now + 60)]
    call = scene.call()
    assert (call.state, reasons(call)) == ("talking", ["disconnected"])
    scene.events += empty_list(7, scene.now + 61)
    call = scene.call()
    assert (call.state, call.outcome, reasons(call)) == ("ended", "answered", ["disconnected", "lost"])


def test_a_call_with_later_lines_survives_a_list() -> None:
    scene = CelScene(is_file=False).talk(2)
    start, end = empty_list(7, scene.now)
    scene.events.append(start)
    scene.leave(1, "b").events.append(end)
    assert scene.call().state != "ended"


def test_a_list_between_lines_ends_nothing() -> None:
    scene = CelScene().talk(2)
    scene.events += empty_list(7, scene.now)
    assert scene.call().state == "talking"
    scene.leave(1, "b").events += empty_list(8, scene.now)
    assert scene.call().state != "ended"
    scene.events += empty_list(9, scene.now)
    assert scene.call().state == "ended"


def test_too_many_open_calls_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may lack the lines that end channels."""
    monkeypatch.setattr(links, "MOST_CALLS", 30)
    scene = CelScene()
    for number in range(1, 41):
        scene.start(number, f"PJSIP/100-{number:08}", "100")
    calls = scene.calls()
    states = [call.state for call in calls.values()]
    assert (len(calls), states.count("ended")) == (40, 12)
    assert states == sorted(states, reverse=True, key=lambda state: state == "ended")


def test_lines_that_come_twice_count_once() -> None:
    """A file may hold the lines that AMI sent, also while the call lasts; its times may lack fractions."""
    sent, file = CelScene(is_file=False).talk(3), CelScene().talk(3)
    table = CallTable().take(sent.events)
    before = dict(table.rows)
    assert table.take(file.events).rows == before
    file.events.clear()
    file.leave(1, "b").leave(2, "b").end(1, 2)
    call = table.take(file.events).call()
    assert (call.state, [talk.seconds is None for talk in call.conversations]) == ("ended", [False])
    sent.events.clear()
    ended = dict(table.rows)
    assert table.take(sent.leave(1, "b").leave(2, "b").end(1, 2).events).rows == ended


def test_ami_replaces_the_call_of_cel() -> None:
    cel = CelScene().ring().emit("ANSWER", 1, userfield="vip", accountcode="sales")
    table = CallTable().take(cel.events)
    assert table.call().sources == ["cel"]
    ami = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    call = table.take(ami.events).call()
    assert (call.sources, call.user_field, call.account_code) == (["ami", "cel"], "vip", "sales")
    assert [row.number for row in table.read()] == [1]
    # The rest of CEL adds nothing, and AMI alone ends the call.
    cel.events.clear()
    assert table.take(cel.end(2, 1).events).call().state == "pbx"
    ended = table.take(Scene.hangup(ami, 1).events[-1]).call()
    assert (ended.state, [leg.unique_id for leg in ended.legs]) == ("ended", [uid(1)])
    assert ended.aliases == [uid(2)]
