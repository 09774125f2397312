"""Sessions of agents from lines of queue_log, in the same rows as those from AMI.

The memory of these lines is apart from that of AMI's events. Where AMI reports sessions itself, lines add nothing
(`projections.queues.coverage`). Intervals of both may still overlap, and a reader counts overlapping ones once.
"""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from projections.engine.durations import MAX_SECONDS
from projections.queues.coverage import gap_at, is_covered, next_span
from projections.queues.session_rows import MEMBERS, Changes, begin_login, end_login, leave_queue, settle
from schemas.queue_log import QueueLogLine

ALL = "*"
"""The membership that stands for queues that no line has named: PAUSEALL pauses it too."""
LOGINS = ("AGENTLOGIN", "AGENTCALLBACKLOGIN")
LOGOFFS = ("AGENTLOGOFF", "AGENTCALLBACKLOGOFF")
START = "QUEUESTART"
"""Asterisk has started: logged-in agents have no channel any more, members of queues stay."""
EVENTS = (
    *(*LOGINS, *LOGOFFS, "ADDMEMBER", "REMOVEMEMBER"),
    *("PAUSE", "UNPAUSE", "PAUSEALL", "UNPAUSEALL", START),
)
"""The lines that begin or end a session."""
OF_AGENTS = frozenset({*LOGINS, *LOGOFFS, START})
PARTS = {"QueueStatus": ("members", "pauses"), "Agents": ("pool",)}
"""The lines' memory by the list of AMI that has the same."""


def follow_line(memory: dict[str, Any], e: QueueLogLine) -> Changes:
    """Follow one line."""
    changes = Changes(e.pbx, e.at, e.position)
    action = "Agents" if e.event in OF_AGENTS else "QueueStatus"
    if is_covered(memory, action, e.at):
        return changes
    own = dict(memory.get("queue_log", {}))
    gap = gap_at(memory, action, e.at)
    if own.get("gaps", {}).get(action, 0.0) != gap:
        # The list between the two lines has ended what was open.
        own = {name: value for name, value in own.items() if name not in PARTS[action]}
        own["gaps"] = {**own.get("gaps", {}), action: gap}
    if e.event == START:
        for agent in list(own.get("pool", {})):
            end_login(own, changes, agent)
    elif e.agent and (e.agent in own.get("members", {}) or len(own.get("members", {})) < MEMBERS):
        _follow(own, changes, e)
    memory["queue_log"] = own
    limit = next_span(memory, action, e.at)
    for key, row in changes.opened.items():
        if row.ended_at is None and limit is not None:
            changes.opened[key] = replace(row, ended_at=max(limit, row.started_at))
    return changes


def end_open(memory: dict[str, Any], changes: Changes, action: str) -> None:
    """End the open sessions of lines: AMI reports from here on."""
    own = memory.get("queue_log", {})
    if own.get("gaps", {}).get(action, 0.0) != gap_at(memory, action, changes.at - timedelta(microseconds=1)):
        return
    if action == "Agents":
        for agent, number in own.get("pool", {}).items():
            changes.end(agent, "login", number)
        return
    for agent, memberships in own.get("members", {}).items():
        for one in memberships.values():
            if one["login"] is not None:
                changes.end(agent, "login", one["login"])
    for agent, number in own.get("pauses", {}).items():
        changes.end(agent, "pause", number)


def _follow(own: dict[str, Any], changes: Changes, e: QueueLogLine) -> None:
    match e.event:
        case "AGENTLOGIN" | "AGENTCALLBACKLOGIN":
            begin_login(own, changes, e.agent, e.at)
        case "AGENTLOGOFF" | "AGENTCALLBACKLOGOFF":
            _log_off(own, changes, e)
        case "ADDMEMBER":
            _join(own, changes, e)
        case "REMOVEMEMBER":
            leave_queue(own, changes, e.agent, e.queue)
            if own.get("members", {}).get(e.agent, {}).keys() == {ALL}:
                leave_queue(own, changes, e.agent, ALL)
        case "PAUSE" | "UNPAUSE":
            _pause(own, changes, e, [e.queue], is_paused=e.event == "PAUSE")
        case "PAUSEALL":
            _pause(own, changes, e, [*_memberships(own, e.agent), ALL], is_paused=True)
        case "UNPAUSEALL":
            _pause(own, changes, e, list(_memberships(own, e.agent)), is_paused=False)
            leave_queue(own, changes, e.agent, ALL)


def _memberships(own: dict[str, Any], agent: str) -> dict[str, Any]:
    memberships: dict[str, Any] = own.get("members", {}).get(agent, {})
    return memberships


def _put(own: dict[str, Any], agent: str, memberships: dict[str, Any]) -> None:
    own["members"] = {**own.get("members", {}), agent: memberships}


def _log_off(own: dict[str, Any], changes: Changes, e: QueueLogLine) -> None:
    """End a login. One of which the file has no beginning began its seconds earlier."""
    if e.agent in own.get("pool", {}):
        end_login(own, changes, e.agent)
    elif 0 < (seconds := e.number("seconds") or 0) <= MAX_SECONDS:
        changes.open(e.agent, "login", e.at - timedelta(seconds=seconds))
        key = (e.agent, "login", e.position)
        changes.opened[key] = replace(changes.opened[key], ended_at=e.at)


def _join(own: dict[str, Any], changes: Changes, e: QueueLogLine) -> None:
    memberships = _memberships(own, e.agent)
    before = memberships.get(e.queue)
    if before is not None and before["login"] is not None:
        return
    login = changes.open(e.agent, "login", e.at, e.queue)
    paused = 0 if before is None else before["paused"]
    _put(own, e.agent, {**memberships, e.queue: {"login": login, "paused": paused, "reason": ""}})
    settle(own, changes, e.agent, "", e.at)


def _pause(own: dict[str, Any], changes: Changes, e: QueueLogLine, names: list[str], *, is_paused: bool) -> None:
    memberships = dict(_memberships(own, e.agent))
    reason = e.text("reason") if is_paused else ""
    for name in names:
        login = memberships[name]["login"] if name in memberships else None
        memberships[name] = {"login": login, "paused": int(is_paused), "reason": reason}
    if memberships:
        _put(own, e.agent, memberships)
    settle(own, changes, e.agent, reason, e.at)
