"""Calls of which call records alone are known."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import msgspec
import pytest

from projections.calls.story.row import call_of
from schemas.calls import Call
from schemas.log import NewEvent
from tests.projections.calls.story.recorded import NAMES, table_of
from tests.support.calls import CallTable, shaped_all
from tests.support.cdr_lines import record
from tests.support.queue_log_events import queue_log_event
from tests.support.recorded_events import snapshotted
from tests.support.scene import BEGIN, Scene, uid

ANSWERED = record(BEGIN, BEGIN + 2, BEGIN + 7, uid(1), user_field="vip", account="sales")


def calls_of(*events: NewEvent) -> dict[str, Call]:
    """Fold records at once, and again with a restart after each: both must give the same rows."""
    whole, cut = CallTable().take(events), CallTable()
    for event in events:
        cut.take(event).restart()
    assert whole.rows == cut.rows
    return whole.calls()


def call_from(*events: NewEvent) -> Call:
    (call,) = calls_of(*events).values()
    return call


def test_a_call_of_one_record() -> None:
    call = call_from(ANSWERED)
    assert (call.linkedid, call.sources, call.state, call.outcome, call.complete) == (
        uid(1),
        ["cdr"],
        "ended",
        "answered",
        True,
    )
    assert call.caller is not None
    assert (call.caller.number, call.caller.name, call.caller.endpoint) == ("100", "Alice Abel", "PJSIP/100")
    assert (call.dialled.number, call.dialled.context) == ("101", "internal")
    assert call.answered_by is not None
    assert (call.answered_by.endpoint, call.answered_by.unique_id) == ("PJSIP/101", "PJSIP/101-00000002")
    assert [(r.to.endpoint, r.seconds, r.outcome) for r in call.rings] == [("PJSIP/101", 2, "answered")]
    assert [talk.seconds for talk in call.conversations] == [5]
    assert (call.started_at.timestamp(), call.duration_seconds, call.talk_seconds) == (BEGIN, 7, 5)
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.cause, call.hangup.at) == (None, None, call.ended_at)
    assert (call.user_field, call.account_code) == ("vip", "sales")


@pytest.mark.parametrize(
    ("disposition", "ring", "outcome"),
    [
        ("NO ANSWER", "no_answer", "no_answer"),
        ("BUSY", "busy", "busy"),
        ("CONGESTION", "congestion", "congestion"),
        ("FAILED", "unavailable", "failed"),
    ],
)
def test_dispositions_are_outcomes(disposition: str, ring: str, outcome: str) -> None:
    call = call_from(record(BEGIN, None, BEGIN + 9, uid(1), disposition=disposition))
    assert [one.outcome for one in call.rings] == [ring]
    assert (call.outcome, call.conversations, call.answered_by) == (outcome, [], None)


def test_an_announcement_is_no_conversation() -> None:
    call = call_from(record(BEGIN, BEGIN, BEGIN + 9, uid(1), to="", application="Playback"))
    assert (call.outcome, call.conversations, call.destination.number) == ("pbx_only", [], "101")


def test_records_of_one_linked_id_are_one_call() -> None:
    """A forked dial, whose second phone answers, and which transfers the caller to a third one."""
    linked = {"linked": uid(1)}
    records = [
        record(BEGIN, None, BEGIN + 4, uid(1), disposition="NO ANSWER", **linked),
        record(BEGIN, BEGIN + 4, BEGIN + 10, uid(1), to="PJSIP/102-00000003", **linked),
        record(
            BEGIN + 10,
            BEGIN + 12,
            BEGIN + 20,
            uid(3),
            channel="PJSIP/102-00000003",
            source="102",
            to="PJSIP/103-00000004",
            **linked,
        ),
    ]
    for order in (records, records[::-1]):
        call = call_from(*order)
        assert call.linkedid == uid(1)
        assert [(r.to.endpoint, r.outcome) for r in call.rings] == [
            ("PJSIP/101", "elsewhere"),
            ("PJSIP/102", "answered"),
            ("PJSIP/103", "answered"),
        ]
        assert [[p.endpoint for p in talk.parties] for talk in call.conversations] == [
            ["PJSIP/100", "PJSIP/102"],
            ["PJSIP/102", "PJSIP/103"],
        ]
        assert sorted(leg.unique_id for leg in call.legs) == [
            uid(1),
            uid(3),
            "PJSIP/101-00000002",
            "PJSIP/103-00000004",
        ]


def test_a_local_channel_is_passed_through() -> None:
    linked = {"linked": uid(1)}
    records = [
        record(BEGIN, BEGIN + 2, BEGIN + 9, uid(1), to="Local/101@x-0001;1", **linked),
        record(BEGIN, BEGIN + 2, BEGIN + 9, uid(3), channel="Local/101@x-0001;2", **linked),
    ]
    for order in (records, records[::-1]):
        call = call_from(*order)
        assert [(r.from_ and r.from_.number, r.to.endpoint) for r in call.rings] == [("100", "PJSIP/101")]
        assert [(talk.seconds, len(talk.parties)) for talk in call.conversations] == [(7, 2)]
        assert (call.outcome, call.answered_by and call.answered_by.endpoint) == ("answered", "PJSIP/101")


def test_a_record_without_persons_is_no_call() -> None:
    assert calls_of(record(BEGIN, BEGIN, BEGIN + 1, uid(1), channel="Message/ast_msg_queue", to="")) == {}


def test_a_record_without_its_times_is_no_call() -> None:
    bad = msgspec.structs.replace(ANSWERED, raw=ANSWERED.raw.replace(b"2026-", b"0000-"))
    table = CallTable().take(Scene().talk(3).part(1, 2).events).take(bad)
    assert table.call().user_field == "vip"
    assert calls_of(bad) == {}


def test_ami_replaces_the_records_in_any_order() -> None:
    ami = Scene().talk(5).part(1, 2).events
    expected = CallTable().take(ami, ANSWERED).calls()
    for place in range(len(ami) + 1):
        table = CallTable()
        for event in [*ami[:place], ANSWERED, *ami[place:]]:
            table.take(event).restart()
        assert table.calls() == expected
    assert expected[uid(1)].sources == ["ami", "cdr"]
    assert (expected[uid(1)].user_field, expected[uid(1)].account_code) == ("vip", "sales")


def alone(name: str) -> dict[str, Call]:
    return CallTable().fold(shaped_all([event for event in snapshotted(name) if event.name == "Cdr"])).calls()


def by_channel(call: Call) -> tuple[Any, ...]:
    rings = Counter(ring.to.channel for ring in call.rings)
    talks = Counter(tuple(party.channel for party in talk.parties) for talk in call.conversations)
    return call.caller and call.caller.number, call.answered_by and call.answered_by.channel, rings, talks


@pytest.mark.parametrize("name", NAMES)
def test_records_alone_tell_plain_calls(name: str) -> None:
    """Asterisk's records say who called, rang and talked; not what a call became by transfers and the like."""
    ami, checked = table_of(name).calls(), 0
    for linkedid, call in alone(name).items():
        whole = ami.get(linkedid)
        if whole is None or whole.transfers or whole.parks or whole.pickups or whole.queues or whole.aliases:
            continue
        if whole.conferences or whole.forwards or whole.holds or whole.originated:
            continue
        assert by_channel(call) == by_channel(whole), linkedid
        assert abs(call.talk_seconds - whole.talk_seconds) <= 2
        checked += 1
    assert checked > 150


def without_records(table: CallTable) -> dict[str, dict[str, Any]]:
    match = {}
    for row in table.read():
        call = msgspec.to_builtins(call_of(row))
        del call["sources"], call["user_field"], call["account_code"]
        match[row.linkedid] = call
    return match


@pytest.mark.parametrize("name", NAMES)
def test_records_before_ami_change_no_story(name: str) -> None:
    events: Sequence[NewEvent] = snapshotted(name)
    mixed = [event for event in events if event.name == "Cdr"] + [event for event in events if event.name != "Cdr"]
    table, shaped = CallTable(), shaped_all(mixed)
    for start in range(0, len(shaped), 400):
        table.fold(shaped[start : start + 400]).restart()
    assert without_records(table) == without_records(table_of(name))


def test_queue_log_and_records_are_one_call() -> None:
    """The file has the caller's unique id, the records have that and the linked id."""
    linked, caller, agent = "1795308990.1", "1795309000.2", "1795309002.3"
    events = [
        queue_log_event(f"1795309003|{caller}|sales|NONE|ENTERQUEUE||100|1"),
        queue_log_event(f"1795309010|{caller}|sales|Ann|CONNECT|7|{agent}|2"),
        queue_log_event(f"1795309015|{caller}|sales|Ann|COMPLETECALLER|7|5|1"),
    ]
    records = [
        record(BEGIN, BEGIN + 10, BEGIN + 15, caller, linked=linked, user_field="vip", application="Queue"),
        record(
            BEGIN + 9, None, BEGIN + 9, "1795309009.4", linked=linked, disposition="BUSY", channel="PJSIP/109-0000000a"
        ),
    ]
    stories = []
    for order in permutations((events, records[:1], records[1:])):
        table = CallTable()
        for event in (one for part in order for one in part):
            table.take(event).restart()
        stories.append(table.call())
    assert all(story == stories[0] for story in stories)
    assert stories[0].sources == ["queue_log", "cdr"]
    assert (stories[0].aliases, stories[0].user_field) == ([linked, "1795309009.4"], "vip")
