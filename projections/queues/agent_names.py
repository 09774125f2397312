"""The names under which agents of app_agent_pool serve queues, from AMI.

AgentLogin and queue_log's AGENTLOGIN have the id of an agent in agents.conf (1001). His calls and pauses have the name
of the queue's member (Agent Ann). Statistics read this table, so that both are one agent.

A member is the agent 1001 if its StateInterface is ``Agent:1001`` or its interface is ``Agent/1001``. Without such a
device, a member ``Local/1001@...`` is that agent if it has the fullname of his in agents.conf (the action Agents).
"""

from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.agent import AgentListed
from schemas.ami.queue import QueueMemberEvent, QueueMemberListed
from schemas.link import LinkEvent

AGENTS = 10_000
"""The most agents of a PBX that have a name."""
DEVICES = ("agent:", "agent/")
LOCAL = "local/"


class AgentName(Row):
    """A name of an agent; ``number`` is the position of its first event.

    ``ended_at`` is when another name followed. The first name is that of the time before it too.
    """

    agent: str
    number: int
    name: str
    ended_at: datetime | None = None


class Naming(Struct):
    """The name that an event gives an agent, and the one that it ends, by their keys."""

    at: datetime
    begun: dict[Key, AgentName] = field(default_factory=dict)
    ended: tuple[Key, ...] = ()


def name_member(memory: dict[str, Any], e: QueueMemberEvent | QueueMemberListed) -> Naming:
    """Give the member's name to its agent, unless the agent is another member with another name."""
    naming = Naming(e.at)
    agent, names = agent_of(memory, e), memory.get("names", {})
    if not agent or not e.name or (agent not in names and len(names) >= AGENTS):
        return naming
    before, member = names.get(agent), member_of(e)
    if before is not None and before["member"] not in {"", member}:
        return naming
    number = e.position
    if before is not None and before["name"] == e.name:
        number = before["number"]
    else:
        naming.begun[agent, number] = AgentName(e.pbx, e.at, agent, number, e.name)
        naming.ended = () if before is None else ((agent, before["number"]),)
    now = {"name": e.name, "number": number, "member": member, "snapshot": memory.get("snapshot", 0)}
    if now != before:
        memory["names"] = {**names, agent: now}
    return naming


def remove_member(memory: dict[str, Any], e: QueueMemberEvent) -> Naming:
    """Let the agent's next member give his name; until then he keeps it."""
    _release(memory, [agent for agent, one in memory.get("names", {}).items() if one["member"] == member_of(e)])
    return Naming(e.at)


def list_agent(memory: dict[str, Any], e: AgentListed) -> Naming:
    """Remember an agent's fullname."""
    fullnames = memory.get("fullnames", {})
    if e.agent and fullnames.get(e.agent, "") != e.name and (e.agent in fullnames or len(fullnames) < AGENTS):
        memory["fullnames"] = {**fullnames, e.agent: e.name}
    return Naming(e.at)


def start_snapshot(memory: dict[str, Any], e: LinkEvent) -> Naming:
    memory["epoch"], memory["snapshot"] = e.epoch, e.position
    return Naming(e.at)


def end_list(memory: dict[str, Any], e: LinkEvent) -> Naming:
    """Release the names of members whom a complete list lacks."""
    if e.action == "QueueStatus" and e.outcome in {"complete", "empty"} and memory.get("epoch") == e.epoch:
        names, start = memory.get("names", {}), memory["snapshot"]
        _release(memory, [agent for agent, one in names.items() if one["member"] and one["snapshot"] != start])
    return Naming(e.at)


def agent_of(memory: dict[str, Any], e: QueueMemberEvent | QueueMemberListed) -> str:
    """Return the id of the agent that a member is, empty for none."""
    for device in (e.state_interface, e.location):
        if device.lower().startswith(DEVICES):
            return device[len(DEVICES[0]) :]
    if not e.location.lower().startswith(LOCAL):
        return ""
    extension = e.location[len(LOCAL) :].partition("@")[0]
    return extension if memory.get("fullnames", {}).get(extension) == e.name else ""


def member_of(e: QueueMemberEvent | QueueMemberListed) -> str:
    return f"{e.location}@{e.queue}"


def _release(memory: dict[str, Any], agents: list[str]) -> None:
    if agents:
        names = memory["names"]
        memory["names"] = {**names, **{agent: {**names[agent], "member": ""} for agent in agents}}


def keys_of(e: Naming) -> list[Key]:
    return [*e.begun, *e.ended]


def begun_name(key: Key, e: Naming) -> AgentName | None:
    return e.begun.get(key)


def end_or_keep(row: AgentName | None, e: Naming) -> AgentName | None:
    return replace(row, ended_at=e.at) if row is not None and (row.agent, row.number) in e.ended else row


def _handler(shape: type[Any], context: Any) -> Handler:
    return Handler(shape, keys_of, end_or_keep, initial=begun_name, context=context)


AGENT_NAMES = ReadModel(
    name="agent_names",
    version=1,
    row=AgentName,
    key=("agent", "number"),
    on={
        "QueueMember": _handler(QueueMemberListed, name_member),
        **dict.fromkeys(
            ("QueueMemberAdded", "QueueMemberPause", "QueueMemberStatus"), _handler(QueueMemberEvent, name_member)
        ),
        "QueueMemberRemoved": _handler(QueueMemberEvent, remove_member),
        "Agents": _handler(AgentListed, list_agent),
        "SnapshotStarted": _handler(LinkEvent, start_snapshot),
        "SnapshotListed": _handler(LinkEvent, end_list),
    },
)
