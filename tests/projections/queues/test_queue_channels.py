"""Channels of queue calls that end, move or are replaced without a queue event (app_queue.c, 16 and 22)."""

from typing import Any

import pytest

from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES
from schemas.log import Connected, NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block, own
from tests.support.queue_events import MODELS, abandon, call, entry, join, leave, member, order, queue

ORDERS = [("Orig", "Second", "Transferee"), ("Second", "Orig", "TransferTarget")]
"""Prefixes in AttendedTransfer: the transferer's leg in a bridge, its leg in an application, the replacing party."""


def transfer(leg: str, caller: str, parts: tuple[str, str, str] = ORDERS[0], **headers: Any) -> NewEvent:
    """Make an AttendedTransfer of ``caller`` to an application that runs on ``leg``."""
    bridged, other, party = parts
    names = {f"{other}TransfererUniqueid": leg, f"{bridged}TransfererUniqueid": "bridged"}
    names |= {f"{bridged}BridgeUniqueid": "b", f"{party}Uniqueid": caller, f"{party}Channel": f"C/{caller}"}
    return block("AttendedTransfer", **({"Result": "Success", "DestType": "App", "DestApp": "Queue"} | names | headers))


def hangup(channel: str, at: float = 1000.0) -> NewEvent:
    return block("Hangup", at, Uniqueid=channel)


def listed_queue(**headers: Any) -> FoldSpec:
    """Return the models after a list of one queue with one member."""
    snapshot = ListSnapshot("QueueStatus")
    return FoldSpec(*MODELS).given(
        [snapshot.start, queue(snapshot, **headers), member(snapshot), snapshot.end, snapshot.over]
    )


def counts(tables: FoldSpec) -> tuple[int, int]:
    row = tables.then(QUEUES)["q",]
    return row.calls, row.abandoned


@pytest.mark.parametrize("parts", ORDERS, ids=["queue-leg-second", "queue-leg-first"])
def test_a_transferred_caller_keeps_the_legs_place(parts: tuple[str, str, str]) -> None:
    tables = listed_queue().given([join("a", 1, 1), join("leg", 2, 2), join("b", 3, 3)])
    tables.given([transfer("leg", "caller", parts), hangup("leg")])
    assert order(tables) == ["a", "caller", "b"]
    row = tables.then(QUEUE_ENTRIES)["q", "caller"]
    assert (row.channel, row.joined.timestamp()) == ("C/caller", 1000.0)
    assert counts(tables.given([abandon("caller"), leave("caller", 2, 2)])) == (2, 1)
    assert order(tables) == ["a", "b"]


@pytest.mark.parametrize("headers", [{"Result": "Fail"}, {"DestType": "Bridge"}, {"TransfereeUniqueid": ""}])
def test_a_transfer_elsewhere_does_not_change_the_queue(headers: dict[str, Any]) -> None:
    tables = listed_queue().given([join("leg", 1, 1), transfer("leg", "caller", **headers)])
    assert order(tables) == ["leg"]


def test_a_caller_abandons_under_the_legs_name() -> None:
    # AttendedTransfer comes before the channel has moved.
    tables = listed_queue().given([join("leg", 1, 1), transfer("leg", "caller"), abandon("leg"), leave("leg", 1, 0)])
    assert order(tables) == []
    assert counts(tables) == (0, 1)


@pytest.mark.parametrize("listed", ["leg", "caller"])
def test_a_transfer_during_a_list_leaves_one_entry(listed: str) -> None:
    tables, snapshot = listed_queue().given([join("leg", 1, 1)]), ListSnapshot("QueueStatus", 2)
    item = entry(snapshot, listed, 1)
    tables.given(
        [snapshot.start, queue(snapshot, Calls=1), transfer("leg", "caller"), item, snapshot.end, snapshot.over]
    )
    assert order(tables) == ["caller"]
    tables, snapshot = listed_queue().given([join("leg", 1, 1)]), ListSnapshot("QueueStatus", 2)
    tables.given(
        [snapshot.start, queue(snapshot, Calls=1), item, transfer("leg", "caller"), snapshot.end, snapshot.over]
    )
    assert order(tables) == ["caller"]


def test_a_caller_leaves_when_the_channel_ends() -> None:
    tables = listed_queue().given([join("a", 1, 1), join("b", 2, 2), hangup("a"), hangup("a"), hangup("stranger")])
    assert order(tables) == ["b"]
    assert counts(tables) == (1, 0)
    assert order(tables.given([leave("a", 1, 1)])) == ["b"]


def test_a_listed_caller_ends_with_the_channel() -> None:
    snapshot = ListSnapshot("QueueStatus", 2)
    tables = listed_queue().given(
        [snapshot.start, queue(snapshot, Calls=1), entry(snapshot, "a", 1), snapshot.end, snapshot.over]
    )
    assert order(tables.given([hangup("a")])) == []
    assert counts(tables) == (0, 0)


def test_a_hangup_during_a_list_removes_the_caller() -> None:
    snapshot = ListSnapshot("QueueStatus", 2)
    tables = listed_queue().given(
        [join("a", 1, 1), snapshot.start, hangup("a"), entry(snapshot, "a", 1), snapshot.end, snapshot.over]
    )
    assert order(tables) == []


@pytest.mark.parametrize(("moment", "in_level"), [(1010.9, 1), (1011.0, 0)])
def test_a_caller_bridged_elsewhere_abandons(moment: float, in_level: int) -> None:
    # After AMI's Bridge, 16.28 and 22.10 send neither QueueCallerAbandon nor QueueCallerLeave.
    tables = listed_queue().given([join("a", 1, 1), block("BridgeEnter", moment, BridgeType="basic", Uniqueid="a")])
    assert order(tables) == []
    assert counts(tables) == (0, 1)
    assert tables.then(QUEUES)["q",].abandoned_in_level == in_level


def test_a_served_caller_is_not_abandoned() -> None:
    served = [leave("a", 1, 0), call("AgentConnect", "a"), block("BridgeEnter", BridgeType="basic", Uniqueid="a")]
    tables = listed_queue().given([join("a", 1, 1), *served])
    assert counts(tables) == (0, 0)
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].in_call == 1


def test_a_renamed_waiting_channel_has_its_new_name() -> None:
    tables = listed_queue().given([join("a", 1, 1), block("Rename", Uniqueid="a", Newname="DAHDI/i1/5550101-2")])
    assert tables.then(QUEUE_ENTRIES)["q", "a"].channel == "DAHDI/i1/5550101-2"


@pytest.mark.parametrize("end", ["a", "member"])
def test_a_call_ends_with_either_channel(end: str) -> None:
    tables = listed_queue().given([call("AgentConnect", "a", DestUniqueid="member", HoldTime=4), hangup(end, 1021.5)])
    row, at_member = tables.then(QUEUES)["q",], tables.then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.completed, row.talk_time, row.completed_in_level) == (1, 21, 1)
    assert (at_member.in_call, at_member.calls_taken, at_member.last_call) == (0, 1, 1021)
    late = [call("AgentComplete", "a", at=1021.6, TalkTime=21), hangup("a"), hangup("member")]
    tables.given(late)
    assert tables.then(QUEUES)["q",].completed == 1
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 1


def test_an_earlier_call_ends_without_the_later_one() -> None:
    tables = listed_queue().given(
        [call("AgentConnect", "a", at=1000.0), call("AgentConnect", "b", at=1005.0), hangup("a")]
    )
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].in_call == 1
    assert tables.then(QUEUES)["q",].completed == 0
    tables.given([hangup("b", 1009.0)])
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 1


@pytest.mark.parametrize("ends", ["AgentComplete", "Hangup"])
def test_an_optimised_call_counts_once(ends: str) -> None:
    def optimised(one: str, two: str, source: str) -> list[NewEvent]:
        halves = {"LocalOneUniqueid": one, "LocalTwoUniqueid": two}
        begin = block("LocalOptimizationBegin", SourceUniqueid=source, Id=1, **halves)
        return [begin, block("LocalOptimizationEnd", Success="No", Id=1, **halves), hangup(two), hangup(one)]

    tables = listed_queue().given([call("AgentConnect", "caller;2", DestUniqueid="member;1")])
    tables.given([*optimised("member;1", "member;2", "phone"), *optimised("caller;1", "caller;2", "trunk")])
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].in_call == 1
    end = call("AgentComplete", "trunk", TalkTime=9) if ends == "AgentComplete" else hangup("phone", 1009.0)
    tables.given([end, hangup("trunk"), hangup("phone")])
    row, at_member = tables.then(QUEUES)["q",], tables.then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.completed, row.talk_time, row.talking) == (1, 9, {})
    assert (at_member.in_call, at_member.calls_taken) == (0, 1)


def test_an_end_without_its_caller_counts_once() -> None:
    # Asterisk 22 sends AgentComplete without Uniqueid after the caller's channel has ended.
    tables = listed_queue().given([call("AgentConnect", "a", DestUniqueid="member"), hangup("a", 1005.0)])
    tables.given([call("AgentComplete", "", TalkTime=5), hangup("member")])
    assert tables.then(QUEUES)["q",].completed == 1
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].in_call == 0


def test_a_new_link_clears_remembered_channels() -> None:
    tables = listed_queue().given([join("a", 1, 1), call("AgentConnect", "b", DestUniqueid="c")])
    tables.given([own(Connected("127.0.0.1:5038"), 1100.0)])
    assert [tables.states[model.name].memory["pbx"] for model in MODELS] == [{}, {}, {}]
