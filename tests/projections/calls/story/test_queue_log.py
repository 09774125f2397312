"""Calls that only queue_log has: each rule of the file."""

from typing import Any

import pytest

from schemas.call_settings import QUEUE_EVENTS, CallSettings
from schemas.calls import Call
from tests.support.calls import CallTable, reasons
from tests.support.folding import own
from tests.support.queue_log_cases import RULES
from tests.support.queue_log_events import queue_log_event, queue_log_events

CALLER, AGENT = "1795309000.1", "1795309002.2"


def table_of(*lines: str) -> CallTable:
    """Fold lines at once, and again with a restart after each: both must give the same rows."""
    events = [queue_log_event(line) for line in lines]
    whole, cut = CallTable().take(events), CallTable()
    for event in events:
        cut.take(event).restart()
    assert whole.rows == cut.rows
    return whole


def call_of(*lines: str) -> Call:
    return table_of(*lines).call()


def seconds(when: Any) -> float | None:
    return None if when is None else when.timestamp()


@pytest.mark.parametrize("case", RULES)
def test_passages_follow_the_rules_of_the_file(case: str) -> None:
    """The truth has an answered caller's end where the talk ends; here he leaves the queue when he is answered."""
    text, expected = RULES[case]
    passages = sorted(
        (p for call in table_of(*text.splitlines()).calls().values() for p in call.queues), key=lambda p: p.entered_at
    )
    assert [
        (
            p.queue,
            seconds(p.entered_at),
            seconds(p.answered_at),
            p.wait_seconds,
            p.talk_seconds,
            p.outcome or "waiting",
            p.ended_by or "",
        )
        for p in passages
    ] == [(queue, entered, answered, *rest) for queue, entered, answered, _, *rest in expected]


WHOLE = (
    f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||5550101|2",
    f"1795309006|{CALLER}|sales|Bob Baker|RINGNOANSWER|3000",
    f"1795309010|{CALLER}|sales|Ann Abel|CONNECT|7|{AGENT}|2",
    f"1795309070|{CALLER}|sales|Ann Abel|COMPLETEAGENT|7|60|2",
    f"1795309071|{CALLER}|sales|Ann Abel|WRAPUPSTART|15",
)


def test_a_call_of_lines_alone() -> None:
    table = table_of(*WHOLE)
    call = table.call()
    assert (call.linkedid, call.sources, call.state, call.outcome, call.complete) == (
        CALLER,
        ["queue_log"],
        "ended",
        "answered",
        True,
    )
    times = (call.started_at, call.answered_at, call.ended_at)
    assert [seconds(time) for time in times] == [1795309000, 1795309010, 1795309070]
    assert call.caller is not None
    assert (call.caller.number, call.caller.unique_id, call.caller.channel) == ("5550101", CALLER, "")
    assert call.answered_by is not None
    assert (call.answered_by.name, call.answered_by.unique_id) == ("Ann Abel", AGENT)
    assert [(p.role, p.talk_seconds) for p in call.parties] == [("caller", 60), ("agent", 60)]
    assert [(r.to.name, r.queue, r.seconds, r.outcome) for r in call.rings] == [("Ann Abel", "sales", 2, "answered")]
    assert [talk.seconds for talk in call.conversations] == [60]
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.name) == ("callee", "Ann Abel")
    assert (call.direction, call.dialled.number, call.legs[0].cause) == (None, None, None)
    (row,) = table.read()
    assert [(r["agent"], r["outcome"], r["talk_seconds"], r["wrapup_seconds"]) for r in row.agent_rings] == [
        ("Bob Baker", "ring_no_answer", 0, 0),
        ("Ann Abel", "answered", 60, 15),
    ]


def test_states_follow_from_line_to_line() -> None:
    states = [call_of(*WHOLE[:count]).state for count in range(1, 5)]
    assert states == ["waiting", "waiting", "talking", "ended"]
    assert call_of(*WHOLE[:3]).outcome is None


def test_a_later_queue_continues_the_call() -> None:
    table = table_of(
        f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||5550101|1",
        f"1795309013|{CALLER}|sales|NONE|EXITWITHTIMEOUT|1|1|10",
        f"1795309014|{CALLER}|support|NONE|ENTERQUEUE||5550101|1",
        f"1795309020|{CALLER}|support|NONE|EXITWITHKEY|9|1|1|6",
        f"1795309021|{CALLER}|sales|NONE|ENTERQUEUE||5550101|1",
        f"1795309025|{CALLER}|sales|NONE|ABANDON|1|1|4",
    )
    call = table.call()
    assert [(q.queue, q.outcome, q.wait_seconds, q.key) for q in call.queues] == [
        ("sales", "timeout", 10, None),
        ("support", "exit_key", 6, "9"),
        ("sales", "abandoned", 4, None),
    ]
    assert (call.outcome, call.hangup and call.hangup.by) == ("abandoned", "caller")
    assert [row["ordinal"] for row in table.read()[0].passages] == [0, 1, 2]


def test_no_line_says_what_became_of_the_call() -> None:
    call = call_of(
        f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||5550101|1", f"1795309013|{CALLER}|sales|NONE|EXITEMPTY|1|1|10"
    )
    assert (call.outcome, call.hangup, call.complete) == ("unknown", None, True)


@pytest.mark.parametrize(
    ("line", "kind", "number"),
    [
        ("BLINDTRANSFER|200|internal|7|20|1", "blind", "200"),
        ("TRANSFER|200|internal|7|20|1", "blind", "200"),
        ("ATTENDEDTRANSFER|BRIDGE|b-1|7|20|1", "attended", None),
        ("ATTENDEDTRANSFER|APP|Queue|7|20|1", "attended", None),
        ("ATTENDEDTRANSFER|LINK|PJSIP/1-1|PJSIP/2-2|7|20|1", "attended", None),
        ("ATTENDEDTRANSFER|THREEWAY|PJSIP/1-1|PJSIP/2-2|7|20|1", "attended", None),
    ],
)
def test_an_agent_hands_the_caller_on(line: str, kind: str, number: str | None) -> None:
    call = call_of(*WHOLE[:3], f"1795309030|{CALLER}|sales|Ann Abel|{line}")
    (passage,) = call.queues
    assert (passage.ended_by, passage.talk_seconds, passage.wait_seconds) == ("transfer", 20, 7)
    (transfer,) = call.transfers
    assert (transfer.kind, transfer.number, transfer.outcome) == (kind, number, None)
    assert transfer.transferee is not None
    assert (transfer.by.name, transfer.transferee.number) == ("Ann Abel", "5550101")
    assert (call.outcome, call.hangup) == ("answered", None)


def test_a_file_begins_in_the_middle() -> None:
    call = call_of(
        f"1795309006|{CALLER}|sales|Bob Baker|RINGNOANSWER|3000",
        f"1795309010|{CALLER}|sales|Ann Abel|CONNECT|7|{AGENT}|2",
        f"1795309070|{CALLER}|sales|Ann Abel|COMPLETECALLER|7|60|2",
    )
    (passage,) = call.queues
    assert (seconds(passage.entered_at), passage.wait_seconds, passage.position) == (1795309003, 7, None)
    assert (call.complete, reasons(call)) == (False, ["joined"])


def test_the_older_file_may_be_imported_later() -> None:
    """Its ENTERQUEUE completes the passage that the newer file began."""
    table = table_of(*WHOLE[2:4], *WHOLE[:2])
    call = table.call()
    (passage,) = call.queues
    assert (passage.position, passage.outcome, passage.talk_seconds) == (2, "answered", 60)
    assert (call.caller and call.caller.number, call.complete, reasons(call)) == ("5550101", True, [])


def test_an_old_file_names_no_channel_that_answered() -> None:
    call = call_of(
        "1200000000|1199999990.1|q|NONE|ENTERQUEUE||555",
        "1200000004|1199999990.1|q|SIP/200|CONNECT|4",
        "1200000010|1199999990.1|q|SIP/200|COMPLETECALLER|4|6",
    )
    assert call.answered_by is not None
    assert (call.answered_by.endpoint, call.answered_by.unique_id) == ("SIP/200", "1199999990.1/SIP/200")
    assert (call.rings, [talk.seconds for talk in call.conversations]) == ([], [6])


def test_a_caller_transferred_into_the_queue() -> None:
    """ENTERQUEUE has the id of the consultation, CONNECT that of the caller, who was in another queue before."""
    call = call_of(
        f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||5550101|1",
        f"1795309005|{CALLER}|sales|Ann Abel|CONNECT|2|{AGENT}|2",
        "1795309010|1795309009.5|support|NONE|ENTERQUEUE||101|1",
        f"1795309012|{CALLER}|sales|Ann Abel|ATTENDEDTRANSFER|APP|Queue|2|7|1",
        f"1795309015|{CALLER}|support|Bob Baker|CONNECT|5|1795309013.6|1",
        f"1795309020|{CALLER}|support|Bob Baker|COMPLETECALLER|5|5|1",
    )
    assert (call.linkedid, call.aliases) == (CALLER, ["1795309009.5"])
    assert [(q.queue, q.agent and q.agent.name, q.wait_seconds, q.talk_seconds) for q in call.queues] == [
        ("sales", "Ann Abel", 2, 7),
        ("support", "Bob Baker", 5, 5),
    ]
    assert [[p.unique_id for p in talk.parties] for talk in call.conversations] == [
        [CALLER, AGENT],
        [CALLER, "1795309013.6"],
    ]


def test_rings_before_and_after_a_transfer_count() -> None:
    """The first agent does not answer the consultation, and the second one not the caller who came in its place."""
    call = call_of(
        "1795309010|1795309009.5|sales|NONE|ENTERQUEUE||101|1",
        "1795309013|1795309009.5|sales|Ann Abel|RINGNOANSWER|2000",
        f"1795309016|{CALLER}|sales|Bob Baker|RINGNOANSWER|2000",
        f"1795309018|{CALLER}|sales|Bob Baker|RINGNOANSWER|2000",
        f"1795309022|{CALLER}|sales|Ann Abel|CONNECT|12|{AGENT}|2",
        f"1795309025|{CALLER}|sales|Ann Abel|COMPLETECALLER|12|3|1",
    )
    assert (call.linkedid, call.aliases) == (CALLER, ["1795309009.5"])
    assert [(q.outcome, q.ring_no_answers) for q in call.queues] == [("answered", 3)]


def test_a_talk_may_end_under_another_id() -> None:
    """The consultation's Local half entered the queue; the transferee's channel has taken its place."""
    call = call_of(
        f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||101|1",
        f"1795309005|{CALLER}|sales|Ann Abel|CONNECT|2|{AGENT}|2",
        "1795309012|1795309001.4|sales|Ann Abel|COMPLETEAGENT|2|7|1",
    )
    assert (call.linkedid, call.aliases, call.state) == (CALLER, ["1795309001.4"], "ended")
    (passage,) = call.queues
    assert (passage.outcome, passage.talk_seconds, passage.ended_by) == ("answered", 7, "agent")
    assert len(call.conversations) == 1


def test_another_agents_talk_is_another_passage() -> None:
    table = table_of(
        f"1795309003|{CALLER}|sales|NONE|ENTERQUEUE||101|1",
        f"1795309005|{CALLER}|sales|Ann Abel|CONNECT|2|{AGENT}|2",
        "1795309012|1795309001.4|sales|Bob Baker|COMPLETEAGENT|2|7|1",
        f"1795309012|{CALLER}|sales|Ann Abel|COMPLETECALLER|2|7|1",
    )
    agents = {linkedid: [q.agent and q.agent.name for q in call.queues] for linkedid, call in table.calls().items()}
    assert agents == {CALLER: ["Ann Abel"], "1795309001.4": ["Bob Baker"]}


def test_a_start_of_asterisk_ends_open_calls() -> None:
    call = call_of(*WHOLE[:3], "1795309500|NONE|NONE|NONE|QUEUESTART|")
    assert (call.state, call.outcome, call.complete, reasons(call)) == ("ended", "answered", False, ["lost"])
    assert seconds(call.ended_at) == 1795309010
    call = call_of(WHOLE[0], "1795309500|NONE|NONE|NONE|QUEUESTART|")
    assert [(q.outcome, seconds(q.left_at)) for q in call.queues] == [("unknown", 1795309003)]


def test_a_word_that_a_setting_names() -> None:
    line = f"1795309003|{CALLER}|sales|NONE|NIGHT|"
    assert CallTable().take(queue_log_events(line)).calls() == {}
    settings = own(CallSettings(queue_events=QUEUE_EVENTS | {"NIGHT": "closed"}), 1795309000)
    table = CallTable().take(settings, pbx="")
    table.restart()
    table.take(queue_log_events(line))
    assert [(q.queue, q.outcome, q.wait_seconds) for q in table.call().queues] == [("sales", "closed", None)]


def test_unknown_lines_count_nowhere() -> None:
    assert (
        table_of(
            "100|NONE|sales|Ann|PAUSE|",
            "100|1.1|NONE|NONE|DID|555",
            "100|NONE|sales|NONE|ABANDON|1|1|5",
            "100|1.1|sales|NONE|NEW|1",
            "101|1.1|sales|Ann|WRAPUPSTART|5",
            "102|1.1|sales|NONE|LEAVEEMPTY|",
        ).calls()
        == {}
    )


def test_impossible_numbers_of_lines() -> None:
    call = call_of(f"1795309010|{CALLER}|sales|Ann|COMPLETECALLER|999999999999|-5|1")
    assert [(q.wait_seconds, q.talk_seconds) for q in call.queues] == [(0, 0)]
