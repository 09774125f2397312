"""Sessions of agents as intervals: logins (AgentLogin, dynamic members of queues) and pauses, from AMI and queue_log.

An agent is a member's name, as in queue_log's fourth column. A login of app_agent_pool has the agent's id; the table
`agent_names` has his name as a member. A static member has no login. A pause lasts while the agent is paused in all
queues of which he is a member. Logins to several queues overlap; a reader counts overlapping logins once.
"""

from datetime import UTC, datetime
from typing import Any

from projections.engine.model import Handler, ReadModel
from projections.queues.coverage import LISTS, begin_span, end_spans
from projections.queues.queue_log_sessions import EVENTS, end_open, follow_line
from projections.queues.session_rows import (
    MEMBERS,
    AgentSession,
    Changes,
    begin_login,
    changed_keys,
    end_login,
    end_or_keep,
    leave_queue,
    opened_row,
    settle,
)
from schemas.ami.agent import AgentEvent, AgentListed
from schemas.ami.queue import QueueMemberEvent, QueueMemberListed
from schemas.link import LinkEvent
from schemas.queue_log import QueueLogLine

LOGGED_OFF = "AGENT_LOGGEDOFF"


MARK = "seen "
"""Begins the names in the memory that mark the members seen since a snapshot began."""


def time_of(seconds: int, latest: datetime) -> datetime:
    """Return a time that Asterisk gives in seconds, or ``latest`` where it gives none, or a later one."""
    return min(datetime.fromtimestamp(seconds, UTC), latest) if 0 < seconds < 1 << 33 else latest


def change_member(memory: dict[str, Any], e: QueueMemberEvent) -> Changes:
    """Follow QueueMemberAdded and QueueMemberPause."""
    changes = Changes(e.pbx, e.at, e.position)
    is_new = not _is_member(memory, e)
    login = changes.open(e.name, "login", e.at, e.queue) if is_new and e.membership == "dynamic" else None
    _keep(memory, changes, e, login, e.at)
    return changes


def list_member(memory: dict[str, Any], e: QueueMemberListed) -> Changes:
    """Follow a member in a list, who may be new."""
    changes = Changes(e.pbx, e.at, e.position)
    is_login = not _is_member(memory, e) and e.membership == "dynamic"
    login = changes.open(e.name, "login", time_of(e.login_time, e.at), e.queue) if is_login else None
    _keep(memory, changes, e, login, time_of(e.last_pause, e.at))
    return changes


def remove_member(memory: dict[str, Any], e: QueueMemberEvent) -> Changes:
    changes = Changes(e.pbx, e.at, e.position)
    leave_queue(memory, changes, e.name, _member(e))
    return changes


def log_in(memory: dict[str, Any], e: AgentEvent) -> Changes:
    changes = Changes(e.pbx, e.at, e.position)
    begin_login(memory, changes, e.agent, e.at)
    return changes


def log_off(memory: dict[str, Any], e: AgentEvent) -> Changes:
    changes = Changes(e.pbx, e.at, e.position)
    end_login(memory, changes, e.agent)
    return changes


def list_agent(memory: dict[str, Any], e: AgentListed) -> Changes:
    """Follow an agent of app_agent_pool in a list."""
    changes = Changes(e.pbx, e.at, e.position)
    if e.status == LOGGED_OFF:
        end_login(memory, changes, e.agent)
    else:
        begin_login(memory, changes, e.agent, time_of(e.logged_in_time or 0, e.at))
    return changes


def start_snapshot(memory: dict[str, Any], e: LinkEvent) -> Changes:
    _forget_seen(memory)
    memory["epoch"] = e.epoch
    return Changes(e.pbx, e.at, e.position)


def end_list(memory: dict[str, Any], e: LinkEvent) -> Changes:
    """End the logins of members whom a complete list lacks: Asterisk was restarted, or the link was away."""
    changes = Changes(e.pbx, e.at, e.position)
    is_complete = e.outcome in {"complete", "empty"}
    if is_complete and e.action in LISTS and begin_span(memory, e.action, e.at):
        end_open(memory, changes, e.action)
    if e.action != "QueueStatus" or memory.get("epoch") != e.epoch:
        return changes
    if is_complete:
        for agent, memberships in list(memory.get("members", {}).items()):
            for member in memberships:
                if MARK + member not in memory:
                    leave_queue(memory, changes, agent, member)
    _forget_seen(memory)
    return changes


def lose_link(memory: dict[str, Any], e: LinkEvent) -> Changes:
    """Note that AMI reports nothing from its last event until the next list."""
    end_spans(memory, e.at if not e.heard else min(e.at, datetime.fromtimestamp(e.heard, UTC)))
    return Changes(e.pbx, e.at, e.position)


def _member(e: Any) -> str:
    return f"{e.location}@{e.queue}"


def _is_member(memory: dict[str, Any], e: Any) -> bool:
    return _member(e) in memory.get("members", {}).get(e.name, {})


def _see(memory: dict[str, Any], member: str) -> None:
    if "epoch" in memory:
        memory[MARK + member] = 1


def _forget_seen(memory: dict[str, Any]) -> None:
    memory.pop("epoch", None)
    for name in [name for name in memory if name.startswith(MARK)]:
        del memory[name]


def _keep(memory: dict[str, Any], changes: Changes, e: Any, login: int | None, paused_since: datetime) -> None:
    """Remember a membership with its pause, and open or end the pause of the agent."""
    members = memory.get("members", {})
    if not e.name or (e.name not in members and len(members) >= MEMBERS):
        return
    before = members.get(e.name, {}).get(_member(e))
    reason: str = e.paused_reason if e.paused else ""
    membership = {
        "login": login if before is None else before["login"],
        "paused": int(bool(e.paused)),
        "reason": reason,
    }
    _see(memory, _member(e))
    if membership == before:
        return
    memory["members"] = {**members, e.name: {**members.get(e.name, {}), _member(e): membership}}
    settle(memory, changes, e.name, reason, paused_since)


INDEXES = ("CREATE INDEX {name}_span ON {table} USING gist (tstzrange(started_at, ended_at))",)
"""Leads to the sessions of a period, however many there were before."""


def _handler(shape: type[Any], context: Any) -> Handler:
    return Handler(shape, changed_keys, end_or_keep, initial=opened_row, context=context)


AGENT_SESSIONS = ReadModel(
    name="agent_sessions",
    version=2,
    row=AgentSession,
    key=("agent", "kind", "number"),
    is_state=False,
    indexes=INDEXES,
    on={
        "AgentLogin": _handler(AgentEvent, log_in),
        "AgentLogoff": _handler(AgentEvent, log_off),
        "Agents": _handler(AgentListed, list_agent),
        "QueueMemberAdded": _handler(QueueMemberEvent, change_member),
        "QueueMemberPause": _handler(QueueMemberEvent, change_member),
        "QueueMemberRemoved": _handler(QueueMemberEvent, remove_member),
        "QueueMember": _handler(QueueMemberListed, list_member),
        **dict.fromkeys(("Connected", "Disconnected"), _handler(LinkEvent, lose_link)),
        "SnapshotStarted": _handler(LinkEvent, start_snapshot),
        "SnapshotListed": _handler(LinkEvent, end_list),
        **dict.fromkeys(EVENTS, _handler(QueueLogLine, follow_line)),
    },
)
