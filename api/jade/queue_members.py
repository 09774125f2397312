"""/admin/queue/members: list (seed 001:3330-3507); add, change and remove (no seed has these)."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta, Struct

from api.http.body import Line, read_body
from api.http.idempotency import command_args
from api.http.views.view import Args, pbx_filter, storable_text
from api.jade.resource import Resource, detail, everything
from api.jade.writes import detail_args, location_of, write_response
from api.stream.resources import StreamResource, segments_of, without
from projections.engine.step import StepFold
from schemas.acts.queue import QueueMemberAdd
from services.commands.pbx import reject_line_breaks
from services.commands.queues import MemberChange, MemberName, add_member, change_member, remove_member
from services.runtime.errors import Invalid

# Several members of a queue may share a name: the detail is the one whose interface it is, or the first.
MEMBERS_SQL = """
SELECT pbx, name || '@' || queue_name AS id, name, queue_name, status, membership, state_interface, location, paused,
       paused_reason, penalty, calls_taken, in_call, last_call, last_pause, ring_inuse, tm_update
FROM queue_members
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR queue_name = $3)
ORDER BY pbx, queue_name, location = $2 DESC, location
"""

Flag = bool | Literal[0, 1]
Penalty = Annotated[int, Meta(ge=0, lt=1 << 31)]
Word = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", max_length=255)]
"""A text that Asterisk takes unchanged: it drops blanks at the beginning of a value."""


class PostBody(Struct, frozen=True):
    """Body of a POST; ``interface`` is AMI's name of ``location``."""

    queue_name: Word
    location: Word | None = None
    interface: Word | None = None
    name: Word | None = None
    penalty: Penalty = 0
    paused: Flag = False
    state_interface: Word | None = None


class PutBody(Struct, frozen=True):
    """Body of a PUT; ``reason`` is AMI's name of ``paused_reason``."""

    paused: Flag | None = None
    paused_reason: Line | None = None
    reason: Line | None = None
    penalty: Penalty | None = None
    ring_inuse: Flag | None = None


def every_member(request: web.Request) -> Args:
    """Return the arguments of the list, narrowed by ``?queue_name=``."""
    queue = request.query.get("queue_name")
    return (*everything(request), queue if queue is None else storable_text(queue))


def member_detail(request: web.Request) -> Args:
    """Return the arguments of the detail: a name, and the queue in ``?queue_name=``."""
    queue = queue_name(request)
    return (*detail(request), queue)


def queue_name(request: web.Request) -> str:
    """Return ``?queue_name=``. Raises Invalid without it."""
    if "queue_name" not in request.query:
        raise Invalid("queue_name is needed")
    return storable_text(request.query["queue_name"])


def member_name(request: web.Request) -> MemberName:
    """Return the member that a write is about; ``?location=`` distinguishes several of this name."""
    reject_line_breaks(*request.query.values())
    pbx, name = detail_args(request)
    location = request.query.get("location")
    return MemberName(pbx, name, queue_name(request), location if location is None else storable_text(location))


async def add(request: web.Request) -> web.Response:
    """POST: add a member, at the PBX of ``?pbx=`` or the only one."""
    body = await read_body(request, PostBody)
    interface = either(body.location, body.interface, "location")
    if interface is None:
        raise Invalid("location is needed")
    new = QueueMemberAdd(
        queue=body.queue_name,
        interface=interface,
        name=body.name or "",
        penalty=body.penalty,
        paused=bool(body.paused),
        state_interface=body.state_interface or "",
    )
    path = location_of(request, "/admin/queue/members", body.name or interface)
    location = f"{path}?queue_name={quote(body.queue_name, safe='')}"
    return write_response(await add_member(*await command_args(request), pbx_filter(request), new, location))


async def change(request: web.Request) -> web.Response:
    """PUT: pause or unpause, set the penalty, set whether the member rings while in use."""
    body = await read_body(request, PutBody)
    reason = either(body.paused_reason, body.reason, "paused_reason")
    new = MemberChange(as_bool(body.paused), reason, body.penalty, as_bool(body.ring_inuse))
    member = member_name(request)
    return write_response(await change_member(*await command_args(request), member, new))


async def remove(request: web.Request) -> web.Response:
    """DELETE: remove a member that was added at run time."""
    member = member_name(request)
    return write_response(await remove_member(*await command_args(request), member))


def either(documented: str | None, of_asterisk: str | None, name: str) -> str | None:
    """Return the value under either name. Raises Invalid for two different values."""
    if None not in (documented, of_asterisk) and documented != of_asterisk:
        raise Invalid(f"{name} is given twice, with different values")
    return of_asterisk if documented is None else documented


def as_bool(flag: Flag | None) -> bool | None:
    return None if flag is None else bool(flag)


MEMBERS = Resource("members", MEMBERS_SQL, ("queue_members",), all_by=every_member, one_by=member_detail)


viewed_columns = without("login_time", "wrapup_time", "call")


def streamed_member(row: Any, at: datetime, step: StepFold) -> dict[str, Any]:
    return {"id": f"{row.name}@{row.queue_name}", **viewed_columns(row, at, step)}


MEMBER_STREAM = StreamResource(
    "queue.member", "/queue/members", "queue_members", segments_of("queue_name", "name"), streamed_member
)
