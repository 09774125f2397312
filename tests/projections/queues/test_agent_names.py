"""The names of agents of app_agent_pool as members of queues."""

from typing import Any

import pytest

from projections.queues.agent_names import AGENT_NAMES
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block
from tests.support.recorded_events import snapshotted


def member(event: str, at: float, name: str = "Agent Ann", queue: str = "billing", **headers: Any) -> NewEvent:
    facts = {"Interface": "Local/1001@agents/n", "StateInterface": "Agent:1001", "Membership": "static"}
    return block(event, at, Queue=queue, MemberName=name, **{**facts, **headers})


def listed(snapshot: ListSnapshot, name: str = "Agent Ann", queue: str = "billing", **headers: Any) -> NewEvent:
    facts = {"Location": "Local/1001@agents/n", "StateInterface": "Agent:1001", "Membership": "static"}
    return snapshot.item("QueueMember", Queue=queue, Name=name, **{**facts, **headers})


def names(tables: FoldSpec) -> list[tuple[str, str, float | None]]:
    rows = sorted(tables.then(AGENT_NAMES).values(), key=lambda row: (row.agent, row.number))
    return [(row.agent, row.name, row.ended_at and row.ended_at.timestamp()) for row in rows]


@pytest.mark.parametrize(
    "interfaces",
    [
        {"StateInterface": "Agent:1001"},
        {"StateInterface": "agent:1001", "Interface": "Local/5@x"},
        {"StateInterface": "Agent/1001", "Interface": "Agent/1001"},
    ],
)
def test_a_members_device_names_its_agent(interfaces: dict[str, str]) -> None:
    tables = FoldSpec(AGENT_NAMES).when(member("QueueMemberAdded", 1000, **interfaces))
    assert names(tables) == [("1001", "Agent Ann", None)]


def test_a_phone_is_no_agent() -> None:
    phone = {"Interface": "PJSIP/1001", "StateInterface": "PJSIP/1001"}
    local = {"StateInterface": "Local/1001@agents/n"}
    tables = FoldSpec(AGENT_NAMES).when(
        member("QueueMemberAdded", 1000, **phone), member("QueueMemberAdded", 1001, **local)
    )
    assert names(tables) == []


def test_a_local_member_has_its_agents_fullname() -> None:
    local = {"StateInterface": "Local/1001@agents/n"}
    snapshot = ListSnapshot("Agents")
    tables = FoldSpec(AGENT_NAMES).when(
        snapshot.start,
        snapshot.item("Agents", Agent="1001", Name="Agent Ann", Status="AGENT_LOGGEDOFF"),
        snapshot.item("Agents", Agent="1002", Name="Agent Ben", Status="AGENT_LOGGEDOFF"),
        snapshot.end,
        member("QueueMemberAdded", 1000, **local),
        member("QueueMemberAdded", 1000, name="Agent Ann", Interface="Local/1002@agents/n", StateInterface=""),
    )
    assert names(tables) == [("1001", "Agent Ann", None)]


def test_a_new_name_ends_the_one_before() -> None:
    tables = FoldSpec(AGENT_NAMES).when(
        member("QueueMemberAdded", 1000),
        member("QueueMemberStatus", 1010),
        member("QueueMemberStatus", 1020, name="Ann Abel"),
    )
    assert names(tables) == [("1001", "Agent Ann", 1020), ("1001", "Ann Abel", None)]


def test_the_first_of_two_members_names_an_agent() -> None:
    """Two queues may have different names for one agent; each list has both, and the rows must not grow with them."""
    tables = FoldSpec(AGENT_NAMES)
    for _ in range(3):
        snapshot = ListSnapshot("QueueStatus")
        tables.when(
            snapshot.start, listed(snapshot), listed(snapshot, "Ann Abel", "sales"), snapshot.end, snapshot.over
        )
    assert names(tables) == [("1001", "Agent Ann", None)]


def test_an_agents_name_outlives_his_membership() -> None:
    tables = FoldSpec(AGENT_NAMES).when(member("QueueMemberAdded", 1000), member("QueueMemberRemoved", 1010))
    assert names(tables) == [("1001", "Agent Ann", None)]
    tables.when(member("QueueMemberAdded", 1020, queue="sales"))
    assert names(tables) == [("1001", "Agent Ann", None)]
    tables.when(member("QueueMemberRemoved", 1030, queue="sales"), member("QueueMemberAdded", 1040, name="Ann Abel"))
    assert names(tables) == [("1001", "Agent Ann", 1040), ("1001", "Ann Abel", None)]


def test_a_list_without_the_member_lets_another_follow() -> None:
    first, second = ListSnapshot("QueueStatus"), ListSnapshot("QueueStatus")
    tables = FoldSpec(AGENT_NAMES).when(first.start, listed(first), first.end, first.over)
    tables.when(second.start, listed(second, "Ann Abel", "sales"), second.failed, second.over)
    assert [name for _, name, _ in names(tables)] == ["Agent Ann"], "an incomplete list releases nothing"
    third, fourth = ListSnapshot("QueueStatus"), ListSnapshot("QueueStatus")
    for one in (third, fourth):
        tables.when(one.start, listed(one, "Ann Abel", "sales"), one.end, one.over)
    assert [name for _, name, _ in names(tables)] == ["Agent Ann", "Ann Abel"]


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_recorded_members_are_their_agents(capture: str) -> None:
    """The agents 1004 and 1005 are in no queue."""
    tables = FoldSpec(AGENT_NAMES).given(snapshotted(capture))
    assert tables.rejected == []
    assert names(tables) == [("1001", "Agent Ann", None), ("1002", "Agent Ben", None), ("1003", "Agent Cay", None)]
