"""Sessions of agents as intervals: logins (AgentLogin, dynamic members of queues) and pauses.

An agent is a member's name, as in queue_log's fourth column; of app_agent_pool it is the agent's id. A static member
has no login. A pause lasts while the agent is paused in all queues of which he is a member. Logins to several queues
overlap; a reader counts overlapping logins once.
"""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.agent import AgentEvent, AgentListed
from schemas.ami.queue import QueueMemberEvent, QueueMemberListed
from schemas.link import LinkEvent

LOGGED_OFF = "AGENT_LOGGEDOFF"
MEMBERS = 10_000
"""The most memberships of a PBX that are followed."""


MARK = "seen "
"""Begins the names in the memory that mark the members seen since a snapshot began."""


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
    if e.action != "QueueStatus" or memory.get("epoch") != e.epoch:
        return changes
    if e.outcome in {"complete", "empty"}:
        for agent, memberships in list(memory.get("members", {}).items()):
            for member in memberships:
                if MARK + member not in memory:
                    leave_queue(memory, changes, agent, member)
    _forget_seen(memory)
    return changes


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


INDEXES = ("CREATE INDEX {name}_span ON {table} USING gist (tstzrange(started_at, ended_at))",)
"""Leads to the sessions of a period, however many there were before."""


def _handler(shape: type[Any], context: Any) -> Handler:
    return Handler(shape, changed_keys, end_or_keep, initial=opened_row, context=context)


AGENT_SESSIONS = ReadModel(
    name="agent_sessions",
    version=1,
    row=AgentSession,
    key=("agent", "kind", "number"),
    is_state=False,
    on={
        "AgentLogin": _handler(AgentEvent, log_in),
        "AgentLogoff": _handler(AgentEvent, log_off),
        "Agents": _handler(AgentListed, list_agent),
        "QueueMemberAdded": _handler(QueueMemberEvent, change_member),
        "QueueMemberPause": _handler(QueueMemberEvent, change_member),
        "QueueMemberRemoved": _handler(QueueMemberEvent, remove_member),
        "QueueMember": _handler(QueueMemberListed, list_member),
        "SnapshotStarted": _handler(LinkEvent, start_snapshot),
        "SnapshotListed": _handler(LinkEvent, end_list),
    },
)
