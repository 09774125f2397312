"""Recordings, voicemail, conferences' parties, quality, call records, accounts, and directions."""

import msgspec
import pytest

from projections.calls.story.quality import e_model, mos_of
from schemas.log import NewEvent
from tests.support.calls import CallTable
from tests.support.scene import UP, Scene, uid


def monitored(scene: Scene, channel: int, path: str) -> Scene:
    return scene.var(channel, "MIXMONITOR_FILENAME", path).emit("MixMonitorStart", **scene.shown(channel))


def test_a_recording_with_a_pause_is_one() -> None:
    scene = monitored(Scene().talk(1), 1, "/var/spool/a.wav").wait(2)
    scene.emit("MixMonitorStop", **scene.shown(1)).wait(1)
    monitored(scene, 1, "/var/spool/a.wav").wait(2)
    monitored(scene, 2, "/var/spool/b.wav").wait(1)
    call = scene.emit("MixMonitorStop", **scene.shown(1)).part(1, 2).call()
    assert [(r.path, r.party.number) for r in call.recordings] == [
        ("/var/spool/a.wav", "100"),
        ("/var/spool/b.wav", "101"),
    ]
    spans = [round((r.ended_at - r.started_at).total_seconds()) for r in call.recordings if r.ended_at]
    assert spans == [6, 1]


def test_a_recording_with_no_name_or_late_one() -> None:
    scene = Scene().talk(1)
    call = scene.emit("MixMonitorStart", **scene.shown(1)).wait(2).part(1, 2).call()
    assert [r.path for r in call.recordings] == [None]
    scene = Scene().talk(1)
    scene.emit("MixMonitorStart", **scene.shown(1)).var(1, "MIXMONITOR_FILENAME", "/late.wav").part(1, 2)
    assert [r.path for r in scene.call().recordings] == ["/late.wav"]


def test_a_recording_of_an_unanswered_channel_is_absent() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    assert monitored(scene, 1, "/a.wav").wait(2).hangup(1).call().recordings == []


def test_voicemail_but_not_its_menu() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="301").state(1, UP)
    scene.run(1, "VoiceMailMain", "100@default").run(1, "VoiceMail", "101@default&102@default,us").hangup(1)
    assert [(v.mailbox, v.party.number) for v in scene.call().voicemails] == [
        ("101@default", "100"),
        ("102@default", "100"),
    ]


def report(scene: Scene, name: str, **values: object) -> Scene:
    return scene.emit(name, **scene.shown(1), **values)


def test_the_quality_is_the_worst_report() -> None:
    scene = report(Scene().talk(1), "RTCPReceived", RTT="0.0400", Report0FractionLost=0, Report0IAJitter=80)
    report(scene, "RTCPSent", Report0FractionLost=64, Report0IAJitter=16)
    report(scene, "RTCPSent", ReportCount=0)
    quality = scene.part(1, 2).call().legs[0].quality
    assert quality is not None
    assert (quality.loss_percent, quality.jitter_ms, quality.rtt_ms) == (25.0, 10.0, 40.0)
    assert quality.mos == round(mos_of(e_model(25.0, 2.0, 0.0)), 2)


def test_asterisks_media_score_replaces_the_e_model() -> None:
    scene = report(Scene().talk(1), "RTCPReceived", MES="80.0", RTT="0.01", Report0FractionLost=0, Report0IAJitter=0)
    quality = scene.part(1, 2).call().legs[0].quality
    assert quality is not None
    assert quality.mos == round(1 + 0.035 * 80 + 80 * 20 * 20 * 7e-6, 2)
    assert scene.call().legs[1].quality is None


@pytest.mark.parametrize(("rating", "mos"), [(93.2, 4.41), (100, 4.5), (50, 2.58), (0, 1.0), (-20, 1.0)])
def test_the_score_of_a_rating_is_g107s(rating: float, mos: float) -> None:
    assert round(mos_of(rating), 2) == mos


def record(scene: Scene, channel: int, user_field: str, account: str = "") -> Scene:
    return scene.emit(
        "Cdr", UniqueID=uid(channel), LinkedID=uid(1), UserField=user_field, AccountCode=account, BillableSeconds=5
    )


def test_the_user_field_is_the_callers_last_one() -> None:
    scene = record(record(Scene().talk(3), 1, "first", "sales"), 2, "other").part(1, 2)
    call = record(record(scene, 1, "last"), 1, "").call()
    assert (call.user_field, call.account_code, call.sources) == ("last", "sales", ["ami", "cdr"])


def test_a_record_minutes_later_finds_the_ended_call() -> None:
    scene = Scene().talk(3).part(1, 2)
    table = CallTable().take(scene.events).take(record(Scene(), 1, "late").events)
    call = table.call()
    assert (call.user_field, call.sources, call.outcome) == ("late", ["ami", "cdr"], "answered")
    before = dict(table.rows)
    assert table.take(record(Scene(), 1, "late").events).rows == before


def test_a_record_of_an_unknown_call_changes_nothing() -> None:
    assert CallTable().take(record(Scene(), 1, "late").events).rows == {}


def test_the_account_code_is_the_callers() -> None:
    scene = Scene().talk(1)
    scene.emit("NewAccountCode", **(scene.shown(1) | {"AccountCode": "out"})).part(1, 2)
    assert scene.call().account_code == "out"


def settings(*trunks: str) -> NewEvent:
    body = msgspec.json.encode({"type": "CallSettings", "trunks": trunks, "queue_events": {}})
    return NewEvent("ringledger", "CallSettings", None, 1795308999.0, body)


@pytest.mark.parametrize(
    ("caller", "callee", "direction"),
    [
        ("PJSIP/100", "PJSIP/101", "internal"),
        ("PJSIP/Provider-2", "PJSIP/101", "inbound"),
        ("PJSIP/100", "SIP/trunk", "outbound"),
        ("PJSIP/provider1", "SIP/trunk", "transit"),
    ],
)
def test_directions(caller: str, callee: str, direction: str) -> None:
    scene = Scene().new(1, f"{caller}-00000001", "1", exten="2")
    scene.ring(1, 2, f"{callee}-00000002", "2", linked=1).dial_end(1, 2, "NOANSWER")
    scene.ring(1, 3, "SIP/trunk-00000003", "3", linked=1).answer(1, 3, "b").part(1, 3)
    table = CallTable().take(settings("PJSIP/provider*", "sip/TRUNK"))
    table.restart()
    assert table.take(scene.events).call().direction == direction
    assert scene.call().direction is None


def test_settings_without_a_pbx_are_those_of_all() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "1", exten="2").hangup(1)
    table = CallTable().take(settings("PJSIP/trunk"), pbx="").take(scene.events, pbx="one")
    table.restart()
    directions = [call.direction for call in table.take(scene.events, pbx="two").calls().values()]
    assert directions == ["inbound"]
    assert {row.direction for row in table.read()} == {"inbound"}


def test_a_local_halfs_recording_is_its_persons() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    monitored(scene.local(2, 3, "Local/101@group-0001", linked=1, optimize="No").dial(1, 2), 3, "/a.wav")
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1).answer(3, 4, "b2").answer(1, 2, "b1").wait(6).request(1)
    call = scene.leave(1, "b1").leave(2, "b1").leave(3, "b2").leave(4, "b2").hangup(1, 2, 3, 4).call()
    assert [(r.path, r.party.number, r.party.channel) for r in call.recordings] == [
        ("/a.wav", "100", "PJSIP/100-00000001")
    ]
