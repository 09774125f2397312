"""The member that a leg of a queue call counts for, also after another channel replaced the rung one."""

from typing import Any

from projections.calls.call_records import CALL_RECORDS
from projections.calls.statistics import STATISTICS
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, block

MODELS = (CALL_RECORDS, STATISTICS)
BOB = {"Queue": "sales", "Uniqueid": "1795341600.1", "Interface": "PJSIP/101", "MemberName": "Bob Baker"}


def member(event: str, channel: str, **headers: Any) -> NewEvent:
    return block(event, 1795341601.0, DestChannel=channel, **(BOB | headers))


def record(channel: str) -> NewEvent:
    call = {"StartTime": "2026-11-22 10:00:00", "EndTime": "2026-11-22 10:00:30", "Duration": 30}
    call |= {"UniqueID": "1795341600.1", "Disposition": "ANSWERED", "Channel": "PJSIP/200-00000001"}
    return block("Cdr", 1795341630.5, DestinationChannel=channel, LastApplication="Queue", LastData="sales", **call)


def agents(*events: NewEvent) -> list[str | None]:
    """Return the agent of each record, after a check that the statistics have the same agents."""
    tables = FoldSpec(*MODELS).given(events)
    records = sorted(tables.then(CALL_RECORDS).values(), key=lambda row: row.position)
    counted = {row.name for row in tables.then(STATISTICS).values() if row.scope == "agent" and row.calls}
    assert counted == {row.agent for row in records if row.agent}
    return [row.agent for row in records]


def test_nested_local_channels_count_for_the_member() -> None:
    local = member("AgentCalled", "Local/107@internal-00000001;1", Interface="Local/107@internal")
    steps = [("Local/107@internal-00000001;1", "Local/8@out-00000002;1"), ("Local/8@out-00000002;1", "PJSIP/t-0000003")]
    begins = [block("LocalOptimizationBegin", LocalOneChannel=one, SourceChannel=new) for one, new in steps]
    records = [record(channel) for channel in (steps[0][0], *(new for _, new in steps))]
    assert agents(local, *begins, *records) == ["Local/107@internal"] * 3


def test_a_local_channel_outside_queues_makes_no_agent() -> None:
    begin = block("LocalOptimizationBegin", LocalOneChannel="Local/9@out-00000001;1", SourceChannel="PJSIP/9-00000002")
    assert agents(member("AgentCalled", "PJSIP/101-00000002"), begin, record("PJSIP/9-00000002")) == [None]


def test_the_target_of_a_transfer_is_no_agent() -> None:
    # The caller is still in Queue() when the target takes the member's place in the bridge.
    served = [member("AgentCalled", "PJSIP/101-00000002"), member("AgentConnect", "PJSIP/101-00000002")]
    served += [member("AgentComplete", "PJSIP/101-00000002", Reason="transfer")]
    assert agents(*served, record("PJSIP/101-00000002"), record("PJSIP/300-00000009")) == ["PJSIP/101", None]


def test_a_reused_channel_counts_for_its_member() -> None:
    forwarded = [member("AgentConnect", "PJSIP/107-00000003"), record("PJSIP/107-00000003")]
    hugo = member("AgentCalled", "PJSIP/107-00000003", Interface="PJSIP/107", MemberName="Hugo Hall")
    assert agents(*forwarded, hugo, record("PJSIP/107-00000003")) == ["PJSIP/101", "PJSIP/107"]


def test_a_leg_counts_for_its_endpoint_without_members() -> None:
    assert agents(record("PJSIP/101-00000002")) == ["PJSIP/101"]
