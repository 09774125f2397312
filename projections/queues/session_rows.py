"""Rows of agents' sessions, and how memberships of queues begin and end them, in AMI and in queue_log.

An agent is a member's name, as in queue_log's fourth column; in a login of app_agent_pool it is the agent's id. A
pause lasts while the agent is paused in all queues of which he is a member.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from projections.engine.model import Key, Row

MEMBERS = 10_000
"""The most memberships of a PBX that are followed."""


class AgentSession(Row):
    """One login to a queue (``queue`` is empty for app_agent_pool), or one pause; ``number`` is the opening position.

    ``kind`` is login or pause. It has no ``ended_at`` while it lasts. A pause has the reason of the queue
    that began it.
    """

    agent: str
    kind: str
    number: int
    started_at: datetime
    ended_at: datetime | None = None
    queue: str = ""
    reason: str = ""


class Changes(Struct):
    """The sessions that an event opens, and those that it ends."""

    pbx: str
    at: datetime
    position: int
    opened: dict[Key, AgentSession] = field(default_factory=dict)
    ended: set[Key] = field(default_factory=set)

    def open(self, agent: str, kind: str, since: datetime, queue: str = "", reason: str = "") -> int:
        """Open a session; return its number."""
        key = (agent, kind, self.position)
        self.opened[key] = AgentSession(self.pbx, self.at, *key, since, None, queue, reason)
        return self.position

    def end(self, agent: str, kind: str, number: int) -> None:
        """End a session."""
        self.ended.add((agent, kind, number))


def changed_keys(e: Changes) -> list[Key]:
    return [*e.opened, *e.ended]


def opened_row(key: Key, e: Changes) -> AgentSession | None:
    return e.opened.get(key)


def end_or_keep(row: AgentSession | None, e: Changes) -> AgentSession | None:
    if row is None or (row.agent, row.kind, row.number) not in e.ended:
        return row
    return replace(row, ended_at=max(e.at, row.started_at))


def leave_queue(memory: dict[str, Any], changes: Changes, agent: str, member: str) -> None:
    """Forget a membership; end its login, and begin or end the agent's pause."""
    members = memory.get("members", {})
    memberships = dict(members.get(agent, {}))
    membership = memberships.pop(member, None)
    if membership is None:
        return
    if membership["login"] is not None:
        changes.end(agent, "login", membership["login"])
    rest = {name: value for name, value in members.items() if name != agent}
    memory["members"] = {**rest, agent: memberships} if memberships else rest
    reasons = [one["reason"] for one in memberships.values()]
    settle(memory, changes, agent, reasons[-1] if reasons else "", changes.at)


def settle(memory: dict[str, Any], changes: Changes, agent: str, reason: str, since: datetime) -> None:
    """Open the pause of an agent who is paused in all queues, and end that of one who is not."""
    memberships = memory.get("members", {}).get(agent, {})
    is_paused = bool(memberships) and all(one["paused"] for one in memberships.values())
    pauses = memory.get("pauses", {})
    if is_paused and agent not in pauses:
        memory["pauses"] = {**pauses, agent: changes.open(agent, "pause", since, reason=reason)}
    elif not is_paused and agent in pauses:
        changes.end(agent, "pause", pauses[agent])
        memory["pauses"] = {name: number for name, number in pauses.items() if name != agent}


def begin_login(memory: dict[str, Any], changes: Changes, agent: str, since: datetime) -> None:
    pool = memory.get("pool", {})
    if agent and agent not in pool and len(pool) < MEMBERS:
        memory["pool"] = {**pool, agent: changes.open(agent, "login", since)}


def end_login(memory: dict[str, Any], changes: Changes, agent: str) -> None:
    pool = memory.get("pool", {})
    if agent in pool:
        changes.end(agent, "login", pool[agent])
        memory["pool"] = {name: number for name, number in pool.items() if name != agent}
