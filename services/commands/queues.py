"""Members of queues: add, change, remove."""

import asyncpg
from msgspec import Struct

from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.commands.act import request_act
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.commands.pbx import resolve_pbx
from services.commands.targets import fetch_one, wait_visible
from services.runtime.errors import Invalid

# Several members may share a name: then the name selects the one whose interface it is, unless $4 names another.
MEMBER = """
SELECT pbx, queue_name, location FROM queue_members
WHERE ($1::text IS NULL OR pbx = $1) AND name = $2 AND queue_name = $3 AND ($4::text IS NULL OR location = $4)
ORDER BY location = $2 DESC FETCH FIRST ROW WITH TIES
"""
SETTINGS = """
SELECT paused, paused_reason, penalty, ring_inuse FROM queue_members
WHERE pbx = $1 AND queue_name = $2 AND location = $3
"""


class MemberName(Struct, frozen=True):
    """The name of a member in a queue; ``pbx`` and ``location`` distinguish several members of this name."""

    pbx: str | None
    name: str
    queue: str
    location: str | None


class MemberChange(Struct, frozen=True):
    """Changes of a member; None leaves a value. ``paused_reason`` belongs to ``paused``."""

    paused: bool | None = None
    paused_reason: str | None = None
    penalty: int | None = None
    ring_inuse: bool | None = None


async def add_member(
    context: CommandContext, request: RequestContext, pbx: str | None, new: QueueMemberAdd, location: str
) -> Outcome:
    """Add a member, at the named PBX or the only one; ``location`` is its path in the caller's dialect."""
    at = await resolve_pbx(context.pool, pbx)
    outcome = await request_act(context, request, at, new, location)
    await wait_visible(context, "queue_members", SETTINGS, at, new.queue, new.interface, until=bool)
    return outcome


async def change_member(
    context: CommandContext, request: RequestContext, member: MemberName, change: MemberChange
) -> Outcome:
    """Pause or unpause a member, set its penalty, or set whether it rings while in use."""
    if change.paused_reason is not None and change.paused is None:
        raise Invalid("paused_reason goes with paused")
    if change.paused is None and change.penalty is None and change.ring_inuse is None:
        raise Invalid("one of paused, penalty, ring_inuse is needed")
    row = await _find(context, member)
    act = QueueMemberChange(
        queue=row["queue_name"],
        interface=row["location"],
        paused=change.paused,
        reason=change.paused_reason or "",
        penalty=change.penalty,
        ring_inuse=change.ring_inuse,
    )
    outcome = await request_act(context, request, row["pbx"], act)
    desired = {
        "paused": change.paused,
        "paused_reason": (change.paused_reason or "") if change.paused else None,
        "penalty": change.penalty,
        "ring_inuse": change.ring_inuse,
    }
    await wait_visible(
        context,
        "queue_members",
        SETTINGS,
        *row,
        until=lambda rows: bool(rows) and all(v is None or rows[0][name] == v for name, v in desired.items()),
    )
    return outcome


async def remove_member(context: CommandContext, request: RequestContext, member: MemberName) -> Outcome:
    """Remove a member that was added at run time."""
    row = await _find(context, member)
    act = QueueMemberRemove(queue=row["queue_name"], interface=row["location"])
    outcome = await request_act(context, request, row["pbx"], act)
    await wait_visible(context, "queue_members", SETTINGS, *row, until=lambda rows: not rows)
    return outcome


async def _find(context: CommandContext, member: MemberName) -> asyncpg.Record:
    args = (member.pbx, member.name, member.queue, member.location)
    kind = f"member {member.name} of queue {member.queue}"
    return await fetch_one(context.pool, MEMBER, *args, kind=kind, narrowed_by="pbx= or location=")
