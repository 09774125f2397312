"""/admin/queue/members: reading them (seed 001:3330-3507); adding, changing and removing them (no seed has these)."""

from typing import Annotated, Literal
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta, Struct

from api.http.body import Line, read_body
from api.http.errors import ApiError
from api.http.views import Args, storable_text
from api.jade.resource import Resource, detail, everything
from api.jade.writes import answer, named, only, seen, where
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.commands.act import act, one_pbx, sendable

# Two members of a queue may share a name: then the one whose interface it is, or the first, is the detail.
MEMBERS_SQL = """
SELECT pbx, name || '@' || queue_name AS id, name, queue_name, status, membership, state_interface, location, paused,
       paused_reason, penalty, calls_taken, in_call, last_call, last_pause, ring_inuse, tm_update
FROM queue_members
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR queue_name = $3)
ORDER BY pbx, queue_name, location = $2 DESC, location
"""

# Nobody is changed by a name that several have, unless it is the interface of one of them.
MEMBER_SQL = """
SELECT pbx, queue_name, location FROM queue_members
WHERE ($1::text IS NULL OR pbx = $1) AND name = $2 AND queue_name = $3 AND ($4::text IS NULL OR location = $4)
ORDER BY location = $2 DESC FETCH FIRST ROW WITH TIES
"""

INTERFACE_SQL = """
SELECT paused, paused_reason, penalty, ring_inuse FROM queue_members
WHERE pbx = $1 AND queue_name = $2 AND location = $3
"""

Flag = bool | Literal[0, 1]
Penalty = Annotated[int, Meta(ge=0, lt=1 << 31)]
Word = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", max_length=255)]
"""A text that Asterisk takes as it stands: it drops blanks at the beginning of a value."""


class NewMember(Struct, frozen=True):
    """Body of a POST; ``interface`` is AMI's word for ``location``."""

    queue_name: Word
    location: Word | None = None
    interface: Word | None = None
    name: Word | None = None
    penalty: Penalty = 0
    paused: Flag = False
    state_interface: Word | None = None


class Change(Struct, frozen=True):
    """Body of a PUT; ``reason`` is AMI's word for ``paused_reason``."""

    paused: Flag | None = None
    paused_reason: Line | None = None
    reason: Line | None = None
    penalty: Penalty | None = None
    ring_inuse: Flag | None = None


def members(request: web.Request) -> Args:
    """Ask for all members, or those of ``?queue_name=``."""
    queue = request.query.get("queue_name")
    return (*everything(request), queue if queue is None else storable_text(queue))


def member(request: web.Request) -> Args:
    """Ask for the member of that name in ``?queue_name=``."""
    if "queue_name" not in request.query:
        raise ApiError(400, "queue_name is needed")
    return (*detail(request), storable_text(request.query["queue_name"]))


def the_member(request: web.Request) -> Args:
    """Ask for it as a write does: ``?location=`` tells which of several with that name is meant."""
    sendable(*request.query.values())
    asked = *named(request), *member(request)[-1:]
    location = request.query.get("location")
    return (*asked, location if location is None else storable_text(location))


async def add(request: web.Request) -> web.Response:
    """POST: add a member, at the PBX of ``?pbx=`` or the only one."""
    new = await read_body(request, NewMember)
    interface = one_of(new.location, new.interface, "location")
    if interface is None:
        raise ApiError(400, "location is needed")
    wanted = QueueMemberAdd(
        queue=new.queue_name,
        interface=interface,
        name=new.name or "",
        penalty=new.penalty,
        paused=bool(new.paused),
        state_interface=new.state_interface or "",
    )
    path = where(request, "/admin/queue/members", new.name or interface)
    pbx = await one_pbx(request)
    decided = await act(request, pbx, wanted, f"{path}?queue_name={quote(new.queue_name, safe='')}")
    await seen(request, "queue_members", INTERFACE_SQL, (pbx, new.queue_name, interface), bool)
    return answer(decided)


async def change(request: web.Request) -> web.Response:
    """PUT: pause or unpause, give another penalty, let ring while in use or not: what the body has."""
    asked = await read_body(request, Change)
    reason = one_of(asked.paused_reason, asked.reason, "paused_reason")
    if reason is not None and asked.paused is None:
        raise ApiError(400, "paused_reason goes with paused")
    if asked.paused is None and asked.penalty is None and asked.ring_inuse is None:
        raise ApiError(400, "one of paused, penalty, ring_inuse is needed")
    row = await only(request, MEMBER_SQL, the_member(request), "pbx= or location=")
    wanted = QueueMemberChange(
        queue=row["queue_name"],
        interface=row["location"],
        paused=flag(asked.paused),
        reason=reason or "",
        penalty=asked.penalty,
        ring_inuse=flag(asked.ring_inuse),
    )
    decided = await act(request, row["pbx"], wanted)
    shown = {
        "paused": asked.paused,
        "paused_reason": (reason or "") if asked.paused else None,
        "penalty": asked.penalty,
        "ring_inuse": asked.ring_inuse,
    }
    await seen(
        request,
        "queue_members",
        INTERFACE_SQL,
        tuple(row),
        lambda rows: bool(rows) and all(rows[0][name] == value for name, value in shown.items() if value is not None),
    )
    return answer(decided)


async def remove(request: web.Request) -> web.Response:
    """DELETE: remove a member that was added at run time."""
    row = await only(request, MEMBER_SQL, the_member(request), "pbx= or location=")
    wanted = QueueMemberRemove(queue=row["queue_name"], interface=row["location"])
    decided = await act(request, row["pbx"], wanted)
    await seen(request, "queue_members", INTERFACE_SQL, tuple(row), lambda rows: not rows)
    return answer(decided)


def one_of(documented: str | None, asterisks: str | None, name: str) -> str | None:
    """Return what stands under either name. Raises ApiError 400 if two different things do."""
    if None not in (documented, asterisks) and documented != asterisks:
        raise ApiError(400, f"{name} is there twice, with different values")
    return asterisks if documented is None else documented


def flag(given: Flag | None) -> bool | None:
    return None if given is None else bool(given)


MEMBERS = Resource("members", MEMBERS_SQL, ("queue_members",), all_by=members, one_by=member)
