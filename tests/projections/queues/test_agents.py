"""Agents in situations that the recordings lack, or lack at the critical moment."""

from typing import Any

from projections.queues.agents import AGENTS, Agent
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block


def agent(snapshot: ListSnapshot, **headers: Any) -> NewEvent:
    return snapshot.item("Agents", Agent="1001", Name="Agent Ann", **headers)


def listed_agent(snapshot: ListSnapshot, **headers: Any) -> FoldSpec:
    """Return the model after a list with one agent."""
    return FoldSpec(AGENTS).given([snapshot.start, agent(snapshot, **headers), snapshot.end, snapshot.over])


def row(tables: FoldSpec) -> Agent:
    row_of_1001: Agent = tables.then(AGENTS)["1001",]
    return row_of_1001


LOGIN: dict[str, Any] = {"Uniqueid": "1.1", "Linkedid": "1.1"}
OFF: dict[str, Any] = {"Status": "AGENT_LOGGEDOFF"}
IDLE: dict[str, Any] = {"Status": "AGENT_IDLE", "LoggedInTime": 900, **LOGIN}


def bridge(event: str, kind: str, at: float = 1000.0, channel: str = "1.1") -> NewEvent:
    return block(event, at, BridgeUniqueid="b", BridgeType=kind, Uniqueid=channel)


def test_an_agent_logs_in_with_the_application() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **OFF)
    tables.given([block("Newexten", 1000.6, Application="AgentLogin", AppData="1001,s", **LOGIN)])
    assert (row(tables).status, row(tables).logged_in_time, row(tables).unique_id) == ("AGENT_IDLE", 1000, "1.1")
    tables.given([block("AgentLogin", 1002.4, Agent="1001", **LOGIN)])
    assert (row(tables).logged_in_time, row(tables).name) == (1000, "Agent Ann")


def test_an_application_that_is_refused_changes_nothing() -> None:
    # Another channel tries to log in as an agent who is logged in; an unknown agent gets no row.
    tables = listed_agent(ListSnapshot("Agents"), **IDLE)
    tables.given([block("Newexten", Application="AgentLogin", AppData=i, Uniqueid="2.2") for i in ("1001", "999", "")])
    assert row(tables).unique_id == "1.1"
    assert list(tables.then(AGENTS)) == [("1001",)]


def test_a_hangup_during_the_greeting_logs_off() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **OFF)
    tables.given([block("Newexten", Application="AgentLogin", AppData="1001", **LOGIN)])
    tables.given([block("Hangup", Uniqueid="7.7"), block("Hangup", **LOGIN)])
    assert row(tables) == Agent("pbx", row(tables).tm_update, "1001", "Agent Ann")


def test_a_list_names_a_new_agent() -> None:
    tables = FoldSpec(AGENTS).given([block("AgentLogin", 1002.4, Agent="1001", **LOGIN)])
    assert (row(tables).name, row(tables).logged_in_time) == ("", 1002)
    snapshot = ListSnapshot("Agents")
    tables.given([snapshot.start, agent(snapshot, **IDLE), snapshot.end, snapshot.over])
    assert (row(tables).name, row(tables).logged_in_time) == ("Agent Ann", 900)


def test_an_agent_is_on_call_in_another_bridge() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **IDLE)
    offered = block("DeviceStateChange", Device="Agent:1001", State="INUSE")
    tables.given([offered, bridge("BridgeLeave", "agent_hold"), bridge("BridgeEnter", "basic", channel="2.2")])
    assert row(tables).status == "AGENT_IDLE"
    tables.given([bridge("BridgeEnter", "basic", 1007.3)])
    assert (row(tables).status, row(tables).call_started) == ("AGENT_ONCALL", 1007)
    tables.given([bridge("BridgeLeave", "basic"), bridge("BridgeEnter", "agent_hold")])
    assert (row(tables).status, row(tables).call_started) == ("AGENT_IDLE", None)


def test_logins_and_calls_fold_alike_in_any_batches() -> None:
    events = [
        block("AgentLogin", Agent="1001", **LOGIN),
        bridge("BridgeEnter", "basic"),
        block("AgentLogoff", Agent="1001", **LOGIN),
        block("AgentLogin", Agent="1001", Uniqueid="3.3", Linkedid="3.3"),
        bridge("BridgeEnter", "basic", channel="1.1"),
        bridge("BridgeEnter", "basic", 1009.0, channel="3.3"),
    ]
    once, many = FoldSpec(AGENTS).given(events), FoldSpec(AGENTS)
    for event in events:
        many.given([event])
    assert once.then(AGENTS) == many.then(AGENTS)
    assert (row(once).status, row(once).unique_id, row(once).call_started) == ("AGENT_ONCALL", "3.3", 1009)


def test_a_header_ended_by_lf_alone_is_parsed() -> None:
    # app_agent_pool.c writes "CallStarted: %ld\n", so the next header becomes part of its value.
    headers = {
        "Status": "AGENT_ONCALL",
        "TalkingToChan": "Local/1001@agents-1;2",
        "CallStarted": "950\nLoggedInTime: 900",
    }
    tables = listed_agent(ListSnapshot("Agents"), **headers, **LOGIN)
    assert (row(tables).call_started, row(tables).logged_in_time, row(tables).unique_id) == (950, 900, "1.1")
    snapshot = ListSnapshot("Agents", 2)
    tables.given([snapshot.start, agent(snapshot, Status="AGENT_ONCALL", CallStarted="x"), snapshot.end])
    assert [name for _, name, _ in tables.rejected] == ["Agents"]


def test_a_list_heals_a_missed_logoff() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **IDLE)
    tables.given([bridge("BridgeEnter", "basic")])
    snapshot = ListSnapshot("Agents", 2)
    tables.given([snapshot.start, bridge("BridgeLeave", "basic"), agent(snapshot, **OFF), snapshot.end, snapshot.over])
    assert row(tables) == Agent("pbx", row(tables).tm_update, "1001", "Agent Ann")


def test_an_agent_missing_from_the_list_is_deleted() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **OFF)
    snapshot = ListSnapshot("Agents", 2)
    assert tables.given([snapshot.start, snapshot.end, snapshot.over]).then(AGENTS) == {}


def test_a_transfer_during_the_greeting_moves_the_login() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **OFF)
    transfer = {"Result": "Success", "DestType": "App", "DestApp": "AgentLogin", "OrigBridgeUniqueid": "b"}
    legs = {"OrigTransfererUniqueid": "5.5", "SecondTransfererUniqueid": "1.1", "TransfereeUniqueid": "7.7"}
    tables.given([block("Newexten", 1000.6, Application="AgentLogin", AppData="1001", **LOGIN)])
    tables.given([block("AttendedTransfer", **transfer, **legs), block("Hangup", **LOGIN)])
    assert (row(tables).status, row(tables).unique_id, row(tables).logged_in_time) == ("AGENT_IDLE", "7.7", 1000)


def test_a_swap_in_another_bridge_moves_no_login() -> None:
    tables = listed_agent(ListSnapshot("Agents"), **IDLE)
    tables.given([block("BridgeEnter", BridgeType="basic", Uniqueid="7.7", SwapUniqueid="1.1")])
    assert row(tables).unique_id == "1.1"
