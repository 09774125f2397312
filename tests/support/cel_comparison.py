"""The comparison of a call of CEL with the same call of AMI, member by member, but for the facts that CEL lacks.

`docs/architecture/calls.md` has these facts in a table.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from schemas.calls import Call, Party
from tests.support.calls import reasons

Members = dict[str, Callable[[Call], Any]]

CLOSE = 0.1
"""Seconds by which the times of AMI's and CEL's events about one moment differ at most."""


def uid(party: Party | None) -> str | None:
    return party.unique_id if party else None


EQUAL: Members = {
    "linkedid, aliases": lambda c: (c.linkedid, c.aliases),
    "complete, gaps": lambda c: (c.complete, reasons(c)),
    "originated": lambda c: c.originated,
    "direction": lambda c: c.direction,
    "account_code": lambda c: c.account_code,
    "caller": lambda c: c.caller,
    "dialled": lambda c: c.dialled,
    "answered_by": lambda c: c.answered_by,
    "destination": lambda c: c.destination,
    "parties": lambda c: [(uid(p), p.number, p.name, p.endpoint, p.answered) for p in c.parties],
    "roles": lambda c: [p.role == "caller" for p in c.parties],
    "rings": lambda c: [(uid(r.from_), r.to, r.outcome) for r in c.rings],
    "conversations": lambda c: [(t.parties, t.conference) for t in c.conversations],
    "transfers": lambda c: [(t.kind, t.by, t.transferee, t.to, t.number, t.context, t.outcome) for t in c.transfers],
    "pickups": lambda c: [(p.by, p.of) for p in c.pickups],
    "forwards": lambda c: [(f.by, f.to) for f in c.forwards],
    "parks": lambda c: [(p.party, p.by, p.lot, p.outcome, p.retrieved_by) for p in c.parks],
    "conferences": lambda c: [(s.name, s.party) for s in c.conferences],
    "voicemails": lambda c: [(v.mailbox, v.party) for v in c.voicemails],
    "legs": lambda c: [(g.unique_id, g.channel, g.linkedids, g.local, g.cause) for g in c.legs],
}
TIMES: dict[str, Callable[[Call], list[datetime | None]]] = {
    "call": lambda c: [c.started_at, c.answered_at, c.ended_at],
    "legs": lambda c: [at for g in c.legs for at in (g.started_at, g.answered_at, g.ended_at)],
    "rings": lambda c: [at for r in c.rings for at in (r.started_at, r.ended_at)],
    "conversations": lambda c: [at for t in c.conversations for at in (t.started_at, t.ended_at)],
    "transfers": lambda c: [t.at for t in c.transfers],
    "parks": lambda c: [at for p in c.parks for at in (p.from_, p.until)],
    "conferences": lambda c: [at for s in c.conferences for at in (s.from_, s.until)],
}


def is_close(one: datetime | None, other: datetime | None, seconds: float) -> bool:
    return one is other if one is None or other is None else abs((one - other).total_seconds()) < seconds


def equal_members(call: Call) -> dict[str, Any]:
    """Return the members that are equal in both stories, by name."""
    return {member: of(call) for member, of in EQUAL.items()}


def unequal_members(call: Call, other: Call, seconds: float, *left_out: str) -> list[str]:
    """Return the members in which a call of CEL, ``other``, differs from that of AMI; times by ``seconds`` or more."""
    ours, theirs = equal_members(call), equal_members(other)
    differences = [member for member in EQUAL if member not in left_out and ours[member] != theirs[member]]
    for member, of_times in TIMES.items():
        pairs = list(zip(of_times(call), of_times(other), strict=member not in differences))
        differences += [f"{member}: {pair}" for pair in pairs if not is_close(*pair, seconds)]
    return differences
