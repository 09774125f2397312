"""Calls of the recordings agree with what Asterisk itself wrote: call records, queue_log, CEL, and the CLI."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from projections.calls.story.items import PERSON, kind_of
from projections.engine.headers import headers_of
from schemas.calls import Call
from tests.captures import last_list, truth
from tests.projections.calls.story.recorded import NAMES, table_of
from tests.support.billing import coverage_of
from tests.support.calls import CallTable, shaped_all
from tests.support.folding import recorded
from tests.support.recorded_events import cut, recording, snapshotted


@cache
def calls(name: str) -> dict[str, Call]:
    return table_of(name).calls()


def by_id(name: str) -> dict[str, Call]:
    """Return the calls by every id."""
    match: dict[str, Call] = {}
    for call in calls(name).values():
        match |= dict.fromkeys([*(leg.unique_id for leg in call.legs), *call.aliases, call.linkedid], call)
    return match


def headers(name: str, *events: str) -> Iterator[dict[str, Any]]:
    return (headers_of(recorded(1, event)) for event in recording(name) if event.name in events)


@pytest.mark.parametrize("name", NAMES)
def test_cuts_and_restarts_change_no_byte(name: str) -> None:
    events, table = shaped_all(snapshotted(name)), CallTable()
    for batch in cut(events, 400, seed=12):
        table.fold(batch)
        table.restart()
    assert table.rows == table_of(name).rows


@pytest.mark.parametrize("name", NAMES)
def test_open_channels_equal_the_clis_last_list(name: str) -> None:
    table = table_of(name).calls(untold=True).values()
    up = {leg.unique_id for call in table if call.state != "ended" for leg in call.legs if leg.ended_at is None}
    listed, _ = last_list(name)
    # The messages' channel never hangs up, and the conference's announcer is not in AMI.
    tools = set(listed) - up
    assert len(tools) == 3
    assert up == set(listed) - tools
    assert tools & {h["Uniqueid"] for h in headers(name, "Newchannel")} == message_channels(name)


@cache
def with_persons(name: str) -> set[str]:
    """Return the linked ids of CEL that have had a person's channel."""
    return {
        event["LinkedID"]
        for event in headers(name, "CEL")
        if event["EventName"] == "CHAN_START" and kind_of(event.get("Channel", "Message/")) == PERSON
    }


def message_channels(name: str) -> set[str]:
    return {h["Uniqueid"] for h in headers(name, "Newchannel") if h["Channel"].startswith("Message/")}


@pytest.mark.parametrize("name", NAMES)
def test_every_linked_id_with_persons_is_told_once(name: str) -> None:
    """Linked ids come from CEL, which the machine does not read; merged ones are aliases."""
    persons, ids = with_persons(name), by_id(name)
    assert persons <= ids.keys()
    assert {ids[linkedid].linkedid for linkedid in persons} == calls(name).keys()
    assert len(calls(name)) == len(persons) - sum(len(persons & set(c.aliases)) for c in calls(name).values())


@pytest.mark.parametrize("name", NAMES)
def test_the_clis_count_of_calls_counts_dialplan_runs(name: str) -> None:
    """`core show calls` counts runs: one for each channel in the dialplan, one more for each text message."""
    outgoing = {"AppDial", "AppDial2", "AppQueue"}
    ran = {h["Uniqueid"] for h in headers(name, "Newexten") if h["Application"] not in outgoing}
    messages = message_channels(name)
    linkedids = {h["Uniqueid"]: h["Linkedid"] for h in headers(name, "Newchannel")}
    ids = by_id(name)
    untold = {unique_id for unique_id in ran if unique_id not in ids}
    assert not {linkedids[unique_id] for unique_id in untold} & with_persons(name)
    of_messages = sum(h["Uniqueid"] in messages and h["Priority"] == "1" for h in headers(name, "Newexten"))
    _, processed = last_list(name)
    # A channel runs the dialplan again after a bridge: parked calls that timed out, transferees.
    assert 0 <= processed - (len(ran - messages) + of_messages) <= 6
    assert {ids[unique_id].linkedid for unique_id in ran - untold} == calls(name).keys()


@pytest.mark.parametrize("name", NAMES)
def test_conversations_cover_the_billable_seconds(name: str) -> None:
    ids = by_id(name)
    persons = with_persons(name)
    checked = Counter[str]()
    for record in headers(name, "Cdr"):
        call = ids.get(record["UniqueID"]) or ids.get(record["LinkedID"])
        if call is None:
            assert record["LinkedID"] not in persons, record
            continue
        checked[coverage_of(record, call, calls(name).values())] += 1
    assert checked["covered"] >= 85
    assert checked["transfer"] <= 2


@pytest.mark.parametrize("name", NAMES)
def test_hangups_have_the_hangup_sources_of_cel(name: str) -> None:
    """The source is of one channel's end, so after a transfer it is not that of the call."""
    sources = {
        event["UniqueID"]: msgspec.json.decode(event["Extra"])["hangupsource"]
        for event in headers(name, "CEL")
        if event["EventName"] == "HANGUP"
    }
    checked = Counter[str]()
    for call in calls(name).values():
        source = sources.get(call.caller.unique_id, "") if call.caller and call.state == "ended" else ""
        if not source or call.transfers or call.parks:
            continue
        assert call.hangup is not None
        party = call.hangup.party.channel if call.hangup.party else "dialplan/builtin"
        assert party == source, call.linkedid
        checked[call.hangup.by or ""] += 1
    assert checked["caller"] > 170
    assert checked["pbx"] > 120
    assert checked["callee"] > 3


@pytest.mark.parametrize("name", NAMES)
def test_answers_transfers_pickups_and_parks_equal_cel(name: str) -> None:
    """Where CEL has an event, the story has an item, and the other way round."""
    events = Counter(event["EventName"] for event in headers(name, "CEL"))
    table = calls(name).values()
    kinds = Counter(transfer.kind for call in table for transfer in call.transfers)
    assert kinds["blind"] == events["BLINDTRANSFER"] == 10
    assert kinds["attended"] + kinds["blonde"] == events["ATTENDEDTRANSFER"] == 7
    assert sum(len(call.pickups) for call in table) == events["PICKUP"] == 1
    assert sum(len(call.parks) for call in table) == events["PARK_START"] == 26
    assert sum(park.until is not None for call in table for park in call.parks) == events["PARK_END"] == 25
    answers = {event["UniqueID"] for event in headers(name, "CEL") if event["EventName"] == "ANSWER"}
    legs = {leg.unique_id: leg for call in table for leg in call.legs if not leg.local}
    assert {unique_id for unique_id, leg in legs.items() if leg.answered_at is not None} == answers & legs.keys()


ENDS = {
    "ABANDON": ("abandoned", 2),
    "EXITWITHTIMEOUT": ("timeout", 2),
    "EXITEMPTY": ("left_empty", 2),
    "WITHDRAW": ("withdrawn", 2),
    "EXITWITHKEY": ("exit_key", 3),
}
HANDED_ON = {"BLINDTRANSFER": 3, "TRANSFER": 3, "ATTENDEDTRANSFER": 3}


def passages_of_log(text: str) -> list[tuple[Any, ...]]:
    """Read queue_log: (call id, queue, position, outcome, wait, talk, agent, ended by, ring no answers)."""
    passages: list[dict[str, Any]] = []
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for line in text.splitlines():
        _, call_id, queue, agent, event, *data = line.split("|")
        if event == "ENTERQUEUE":
            passage = {"id": call_id, "queue": queue, "position": int(data[2]), "missed": 0}
            passages.append(passage)
            last[call_id, queue] = passage
            continue
        match = last.get((call_id, queue))
        if match is None:
            continue
        if event in ENDS:
            outcome, wait = ENDS[event]
            match |= {"outcome": outcome, "wait": int(data[wait])}
        elif event == "CONNECT":
            match |= {"outcome": "answered", "wait": int(data[0]), "agent": agent}
        elif event in {"COMPLETECALLER", "COMPLETEAGENT"}:
            match |= {"talk": int(data[1]), "by": event.removeprefix("COMPLETE").lower()}
        elif event in HANDED_ON:
            match |= {"talk": int(data[HANDED_ON[event]]), "by": "transfer"}
        elif event == "RINGNOANSWER":
            match["missed"] += 1
    names = ("id", "queue", "position", "outcome", "wait", "talk", "agent", "by", "missed")
    return [tuple(passage.get(name) for name in names) for passage in passages]


@pytest.mark.parametrize("name", NAMES)
def test_passages_equal_those_of_queue_log(name: str) -> None:
    table = calls(name)
    joined = [
        (
            passage.party.unique_id if passage.party else None,
            passage.queue,
            passage.position,
            passage.outcome,
            passage.wait_seconds,
            passage.talk_seconds,
            passage.agent.name if passage.agent else None,
            passage.ended_by,
            passage.ring_no_answers,
        )
        for call in table.values()
        for passage in call.queues
        if passage.outcome != "join_empty"
    ]
    log = passages_of_log(truth(name, "queue_log"))
    waiting = [passage for passage in joined if passage[3] is None]
    assert len(joined) == len(log) >= 60
    # One caller still waits when the recording ends; queue_log has his end, which came after.
    assert len(waiting) == 1
    differing = set(joined) ^ set(log)
    assert {(p[0], p[1]) for p in differing} == {waiting[0][:2]}
    # JOINEMPTY writes no line.
    assert sum(p.outcome == "join_empty" for call in table.values() for p in call.queues) == 2


@pytest.mark.parametrize("name", NAMES)
def test_stories_of_the_recordings(name: str) -> None:
    table = calls(name).values()
    kinds = Counter((t.kind, t.outcome) for call in table for t in call.transfers)
    assert kinds["attended", "answered"] == 6
    assert kinds["blonde", "no_answer"] == 1
    assert kinds["blind", "answered"] >= 4
    assert Counter(p.outcome for call in table for p in call.parks)["retrieved"] == 5
    assert sum(len(call.pickups) for call in table) == 1
    assert Counter(len(call.recordings) for call in table)[1] == 1
    for call in table:
        if call.state == "ended":
            assert None not in {r.outcome for r in call.rings} | {r.ended_at for r in call.rings}
            assert None not in {c.ended_at for c in call.conversations} | {h.until for h in call.holds}
            assert call.outcome is not None
            assert call.complete
        assert {r.from_.unique_id for r in call.rings if r.from_} <= {leg.unique_id for leg in call.legs}
