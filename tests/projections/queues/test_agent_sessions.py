"""Logins and pauses of agents, as intervals."""

from datetime import UTC, datetime
from typing import Any

from projections.queues.agent_sessions import AGENT_SESSIONS
from projections.queues.session_rows import AgentSession
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block

Interval = tuple[str, str, float, float | None, str]


def member(event: str, at: float, queue: str = "sales", paused: int = 0, reason: str = "", **headers: Any) -> NewEvent:
    facts = {"Queue": queue, "MemberName": "Alice", "Interface": "PJSIP/100", "Membership": "dynamic"}
    return block(event, at, **{**facts, "Paused": paused, "PausedReason": reason, **headers})


def listed(snapshot: ListSnapshot, queue: str = "sales", **headers: Any) -> NewEvent:
    facts = {"Queue": queue, "Name": "Alice", "Location": "PJSIP/100", "Membership": "dynamic", "Paused": 0}
    return snapshot.item("QueueMember", **{**facts, **headers})


def seconds(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()


def intervals(tables: FoldSpec) -> list[Interval]:
    rows: list[AgentSession] = list(tables.then(AGENT_SESSIONS).values())
    items = [
        (r.agent, r.kind, r.started_at.timestamp(), seconds(r.ended_at), r.reason if r.kind == "pause" else r.queue)
        for r in rows
    ]
    return sorted(items, key=lambda one: (one[1], one[2]))


def test_a_dynamic_member_is_logged_in_until_removed() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(
        member("QueueMemberAdded", 1000), member("QueueMemberAdded", 1001, "support")
    )
    assert intervals(tables) == [("Alice", "login", 1000, None, "sales"), ("Alice", "login", 1001, None, "support")]
    tables.when(member("QueueMemberRemoved", 1060), member("QueueMemberRemoved", 1060))
    assert intervals(tables)[0] == ("Alice", "login", 1000, 1060, "sales")


def test_a_pause_counts_while_all_queues_are_paused() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(
        member("QueueMemberAdded", 1000), member("QueueMemberAdded", 1000, "support")
    )
    tables.when(member("QueueMemberPause", 1010, paused=1, reason="lunch"))
    assert [one for one in intervals(tables) if one[1] == "pause"] == []
    tables.when(member("QueueMemberPause", 1020, "support", paused=1, reason="lunch"))
    tables.when(member("QueueMemberPause", 1025, "support", paused=1, reason="again"))
    assert intervals(tables)[-1] == ("Alice", "pause", 1020, None, "lunch")
    tables.when(member("QueueMemberPause", 1050), member("QueueMemberPause", 1051, "support"))
    assert intervals(tables)[-1] == ("Alice", "pause", 1020, 1050, "lunch")


def test_quitting_the_last_unpaused_queue_begins_a_pause() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(
        member("QueueMemberAdded", 1000), member("QueueMemberAdded", 1000, "support")
    )
    tables.when(
        member("QueueMemberPause", 1010, paused=1, reason="lunch"), member("QueueMemberRemoved", 1020, "support")
    )
    assert intervals(tables)[-1] == ("Alice", "pause", 1020, None, "lunch")
    tables.when(member("QueueMemberRemoved", 1030))
    assert intervals(tables)[-1] == ("Alice", "pause", 1020, 1030, "lunch")


def test_a_static_member_has_pauses_and_no_login() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(member("QueueMemberPause", 1010, paused=1, Membership="static"))
    assert intervals(tables) == [("Alice", "pause", 1010, None, "")]


def test_a_list_begins_and_ends_sessions() -> None:
    snapshot = ListSnapshot("QueueStatus")
    item = listed(snapshot, LoginTime=900, Paused=1, LastPause=950, PausedReason="lunch")
    tables = FoldSpec(AGENT_SESSIONS).when(snapshot.start, item, snapshot.end, snapshot.over)
    assert intervals(tables) == [("Alice", "login", 900, None, "sales"), ("Alice", "pause", 950, None, "lunch")]
    again = ListSnapshot("QueueStatus")
    tables.when(again.start, again.end, again.over)
    assert [(one[1], one[3] is None) for one in intervals(tables)] == [("login", False), ("pause", False)]


def test_an_incomplete_list_ends_nothing() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(member("QueueMemberAdded", 1000))
    snapshot = ListSnapshot("QueueStatus")
    tables.when(snapshot.start, snapshot.failed, snapshot.over)
    assert intervals(tables) == [("Alice", "login", 1000, None, "sales")]


def test_agents_of_the_pool_log_in_and_off() -> None:
    tables = FoldSpec(AGENT_SESSIONS).when(
        block("AgentLogin", 1000.5, Agent="1001", Uniqueid="1.1"),
        block("AgentLogin", 1001.5, Agent="1001", Uniqueid="1.1"),
        block("AgentLogoff", 1060.5, Agent="1001", Logintime=60),
        block("AgentLogoff", 1061.5, Agent="1001", Logintime=60),
    )
    assert intervals(tables) == [("1001", "login", 1000.5, 1060.5, "")]


def test_a_time_in_the_future_is_now() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(AGENT_SESSIONS).when(snapshot.start, listed(snapshot, LoginTime=4_000_000_000), snapshot.end)
    ((_, _, since, _, _),) = intervals(tables)
    assert since < datetime(2030, 1, 1, tzinfo=UTC).timestamp()
