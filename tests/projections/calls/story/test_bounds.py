"""The bounds of a call: its channels, rings, aliases and conversations; what is beyond them is counted."""

from typing import Any

import pytest

from projections.calls.story import call as call_module
from projections.calls.story import legs, pbx
from tests.support.calls import CallTable
from tests.support.scene import CONFERENCE, UP, Scene, uid

STASIS: dict[str, Any] = {"BridgeType": "stasis", "BridgeTechnology": "softmix"}


def test_a_call_of_a_thousand_phones_is_bounded() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    for phone in range(2, 1200):
        scene.ring(1, phone, f"PJSIP/{phone}-{phone:08x}", str(phone), linked=1)
    (row,) = CallTable().take(scene.events).read()
    assert row.story is not None
    assert row.story["more"] == {"legs": 199}
    for phone in range(2, 1200):
        scene.dial_end(1, phone, "NOANSWER").hangup(phone)
    scene.hangup(1)
    table = CallTable().take(scene.events)
    call = table.call()
    assert (len(call.legs), len(call.rings), call.state) == (1000, 999, "ended")


def test_a_conference_names_a_bounded_number_of_persons() -> None:
    scene = Scene()
    for number in range(1, 81):
        scene.new(number, f"PJSIP/{number}-{number:08x}", str(number), exten="400").enter(number, "c", **CONFERENCE)
    for number in range(80, 0, -1):
        scene.leave(number, "c", **CONFERENCE).hangup(number)
    whole, cut = CallTable().take(scene.events), CallTable()
    for start in range(0, len(scene.events), 70):
        cut.take(scene.events[start : start + 70]).restart()
    assert whole.rows == cut.rows
    calls = whole.calls()
    del calls[uid(1)]  # who is alone at the end
    sizes = {sum(len(talk.parties) for talk in call.conversations) for call in calls.values()}
    assert 900 < max(sizes) <= 1_000
    # The last talk lasts, with the persons whom it names, until the caller leaves the conference.
    assert [call.conversations[-1].ended_at for call in calls.values()] == [
        call.conferences[0].until for call in calls.values()
    ]


def test_a_call_has_at_most_a_thousand_rings() -> None:
    """Two calls with 600 phones each become one."""
    scene = Scene()
    for caller in (1, 10_001):
        scene.new(caller, f"PJSIP/100-{caller:08x}", "100", exten="300")
        for phone in range(caller + 1, caller + 601):
            scene.ring(caller, phone, f"PJSIP/{phone}-{phone:08x}", str(phone), linked=caller)
            scene.dial_end(caller, phone, "NOANSWER").hangup(phone)
    scene.state(1, UP).state(10_001, UP).enter(1, "b").enter(10_001, "b")
    (row,) = CallTable().take(scene.events).read()
    assert row.story is not None
    assert len(row.story["rings"]) == len(row.story["legs"]) == 1000
    assert row.story["more"] == {"rings": 200, "legs": 202}


def test_a_call_that_never_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that is never hung up meets one caller after the other, whose calls become part of its call."""
    for module in (call_module, legs, pbx):
        monkeypatch.setattr(module, "LONGEST", 10)
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="400").state(1, UP).enter(1, "c", **STASIS)
    for caller in range(2, 32):
        scene.wait(10).new(caller, f"PJSIP/trunk-{caller:08x}", f"5{caller}", exten="400").state(caller, UP)
        scene.enter(caller, "c", **STASIS).wait(5).link(1, caller).leave(caller, "c", **STASIS).hangup(caller)
    call = scene.call()
    assert (call.linkedid, call.caller and call.caller.number, call.state) == (uid(1), "100", "pbx")
    assert (len(call.legs), len(call.aliases), len(call.conversations)) == (10, 10, 10)
    assert [p.number for p in call.conversations[9].parties] == ["100", "511"]
    (row,) = CallTable().take(scene.events).read()
    assert row.story is not None
    assert row.story["more"] == {"legs": 21, "aliases": 20, "talks": 20}
