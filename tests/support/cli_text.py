"""Print folded rows as Asterisk's CLI prints its own state, to compare them as text.

The formats are those of `queue show`, `agent show all` and `parking show default` in 16.28 and 22.10. `comparable`
leaves out the values that rows lack before an event or a list has them: a member's ringinuse, a caller's priority.
"""

import re

from projections.calls.channels import CHANNELS
from projections.calls.parked_calls import PARKED_CALLS
from projections.calls.parking_lots import PARKING_LOTS
from projections.endpoints.device_states import DEVICE_STATES
from projections.queues.agents import AGENTS
from projections.queues.queue_entries import QUEUE_ENTRIES, QueueEntry
from projections.queues.queue_members import QUEUE_MEMBERS, QueueMember
from projections.queues.queues import QUEUES
from tests.support.folding import FoldSpec

STATUS = (
    "Unknown",
    "Not in use",
    "In use",
    "Busy",
    "Invalid",
    "Unavailable",
    "Ringing",
    "Ring+Inuse",
    "On Hold",
)
MODELS = (AGENTS, CHANNELS, DEVICE_STATES, PARKED_CALLS, PARKING_LOTS, QUEUE_ENTRIES, QUEUE_MEMBERS, QUEUES)


def comparable(text: str) -> str:
    """Return the CLI's text without colours, unknowables and blank lines, its lines sorted within each paragraph."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r" \(ringinuse \w+\)|, prio: -?\d+", "", text)
    text = re.sub(r"(?m)[ ]+$", "", text)
    paragraphs = ["\n".join(sorted(p.split("\n"))) for p in text.strip().split("\n\n")]
    return "\n\n".join(sorted(paragraphs))


def queue_show(tables: FoldSpec, now: int, ahead: float = 0.0) -> str:
    """Print the queues. ``now`` is the PBX's clock; the listener's, by which callers joined, is ``ahead`` seconds."""
    members: dict[str, list[QueueMember]] = {}
    for member in tables.then(QUEUE_MEMBERS).values():
        members.setdefault(member.queue_name, []).append(member)
    entries: dict[str, list[QueueEntry]] = {}
    for entry in tables.then(QUEUE_ENTRIES).values():
        entries.setdefault(entry.queue_name, []).append(entry)
    paragraphs = []
    for q in tables.then(QUEUES).values():
        head = (
            f"{q.name} has {q.calls} calls (max {q.max or 'unlimited'}) in '{q.strategy}' strategy "
            f"({q.hold_time}s holdtime, {q.talk_time}s talktime), W:{q.weight}, C:{q.completed}, A:{q.abandoned}, "
            f"SL:{q.service_level_perf:.1f}%, SL2:{q.service_level_perf2:.1f}% within {q.service_level}s"
        )
        lines = [head]
        lines += ["   Members:"] if q.name in members else ["   No Members"]
        lines += [_member(m, now) for m in members.get(q.name, ())]
        lines += ["   Callers:"] if q.name in entries else ["   No Callers"]
        lines += [_caller(e, now + int(ahead)) for e in entries.get(q.name, ())]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _member(m: QueueMember, now: int) -> str:
    state = f" from {m.state_interface}" if m.state_interface != m.location else ""
    reason = f":{m.paused_reason}" if m.paused_reason else ""
    taken = f"{m.calls_taken} calls (last was {now - m.last_call} secs ago)" if m.calls_taken else "no calls yet"
    return "".join(
        (
            f"      {m.name}",
            f" ({m.location}{state})" if m.name.lower() != m.location.lower() else "",
            f" with penalty {m.penalty}" if m.penalty else "",
            " (dynamic)" if m.membership == "dynamic" else "",
            " (in call)" if m.in_call else "",
            f" (paused{reason} was {now - m.last_pause} secs ago)" if m.paused else "",
            f" ({STATUS[m.status]}) has taken {taken} (login was {now - m.login_time} secs ago)",
        )
    )


def _caller(e: QueueEntry, now: int) -> str:
    assert e.joined is not None
    wait = now - int(e.joined.timestamp())
    return f"      {e.position}. {e.channel} (wait: {wait // 60}:{wait % 60:02})"


def agent_show_all(tables: FoldSpec) -> str:
    """Join agents with their device state, their channel and the channels in its bridge, as a view does."""
    devices, channels = tables.then(DEVICE_STATES), tables.then(CHANNELS)
    rows = [("Agent-ID", "Name", "State", "Channel", "Talking with")]
    agents = sorted(tables.then(AGENTS).values(), key=lambda a: a.id)
    for a in agents:
        channel = channels.get((a.unique_id,))
        peers = [
            c.channel
            for c in channels.values()
            if channel is not None and a.status == "AGENT_ONCALL" and c.bridge_id == channel.bridge_id and c != channel
        ]
        state = devices[f"Agent:{a.id}",].state
        rows.append((a.id, a.name, state, channel.channel if channel else "", ",".join(peers)))
    on, talking = (sum(a.status in of for a in agents) for of in ({"AGENT_IDLE", "AGENT_ONCALL"}, {"AGENT_ONCALL"}))
    lines = [f"{i:8} {name:20} {state:11} {channel:30} {peer}".rstrip() for i, name, state, channel, peer in rows]
    return "\n".join(lines) + f"\n\nDefined agents: {len(agents)}, Logged in: {on}, Talking: {talking}"


def parking_show(tables: FoldSpec, lot: str) -> str:
    row = tables.then(PARKING_LOTS)[lot,]
    calls = [c for c in tables.then(PARKED_CALLS).values() if c.parking_lot == lot]
    lines = [f"Parking Spaces      :  {row.start_space}-{row.stop_space}", f"Parking Time        :  {row.timeout} sec"]
    for c in calls:
        lines += [f"  Space               :  {c.parking_space}", f"  Channel             :  {c.parkee_channel}"]
        lines += [f"  Parker Dial String  :  {c.parker_dial_string}"]
    return "\n".join(sorted(lines))


def parking_lines(text: str) -> str:
    """Return the lines of `parking show LOT` that `parking_show` prints too."""
    prefixes = ("Parking Spaces ", "Parking Time ", "  Space ", "  Channel ", "  Parker Dial String ")
    return "\n".join(sorted(line.rstrip() for line in text.split("\n") if line.startswith(prefixes)))
