"""Events about queues, their members and their callers (app_queue)."""

from typing import Annotated

from msgspec import Meta, field

from schemas.ami import AmiEvent, Int

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A number to which folds add, so it must stay below the limit of PostgreSQL's bigint."""

Percent = Annotated[float, Meta(ge=0, le=100)]


class QueueListed(AmiEvent, frozen=True, kw_only=True, gc=False):
    """QueueParams: one queue of the response to QueueStatus; the two performances are percentages with one decimal."""

    queue: str = field(name="Queue", default="")
    max: Int = field(name="Max", default=0)
    strategy: str = field(name="Strategy", default="")
    calls: Int = field(name="Calls", default=0)
    hold_time: Int = field(name="Holdtime", default=0)
    talk_time: Int = field(name="TalkTime", default=0)
    completed: Count = field(name="Completed", default=0)
    abandoned: Count = field(name="Abandoned", default=0)
    service_level: Int = field(name="ServiceLevel", default=0)
    service_level_perf: Percent = field(name="ServicelevelPerf", default=0.0)
    service_level_perf2: Percent = field(name="ServicelevelPerf2", default=0.0)
    weight: Int = field(name="Weight", default=0)


class QueueMemberFacts(AmiEvent, frozen=True, kw_only=True, gc=False):
    """The common headers of member events and member list items; times are seconds since the epoch, 0 for never."""

    queue: str = field(name="Queue", default="")
    state_interface: str = field(name="StateInterface", default="")
    membership: str = field(name="Membership", default="")
    penalty: Int = field(name="Penalty", default=0)
    calls_taken: Count = field(name="CallsTaken", default=0)
    last_call: Int = field(name="LastCall", default=0)
    last_pause: Int = field(name="LastPause", default=0)
    login_time: Int = field(name="LoginTime", default=0)
    in_call: Int = field(name="InCall", default=0)
    status: Int = field(name="Status", default=0)
    paused: Int = field(name="Paused", default=0)
    paused_reason: str = field(name="PausedReason", default="")
    wrapup_time: Int = field(name="Wrapuptime", default=0)


class QueueMemberEvent(QueueMemberFacts, frozen=True, kw_only=True, gc=False):
    """QueueMemberAdded, Removed, Status, Pause, Penalty and Ringinuse."""

    name: str = field(name="MemberName", default="")
    location: str = field(name="Interface", default="")
    ring_inuse: Int | None = field(name="Ringinuse", default=None)


class QueueMemberListed(QueueMemberFacts, frozen=True, kw_only=True, gc=False):
    """QueueMember: one member of the response to QueueStatus. It lacks Ringinuse."""

    name: str = field(name="Name", default="")
    location: str = field(name="Location", default="")


class QueueCaller(AmiEvent, frozen=True, kw_only=True, gc=False):
    """QueueCallerJoin, Leave and Abandon; ``position`` counts from 1, ``count`` is of callers after the event."""

    queue: str = field(name="Queue", default="")
    unique_id: str = field(name="Uniqueid", default="")
    linked_id: str = field(name="Linkedid", default="")
    channel: str = field(name="Channel", default="")
    caller_id_num: str = field(name="CallerIDNum", default="")
    caller_id_name: str = field(name="CallerIDName", default="")
    connected_line_num: str = field(name="ConnectedLineNum", default="")
    connected_line_name: str = field(name="ConnectedLineName", default="")
    position: Int = field(name="Position", default=0)
    count: Int = field(name="Count", default=0)
    hold_time: Int = field(name="HoldTime", default=0)


class QueueEntryListed(AmiEvent, frozen=True, kw_only=True, gc=False):
    """QueueEntry: one caller of the response to QueueStatus; ``wait`` in seconds. Unknown names are ``unknown``."""

    queue: str = field(name="Queue", default="")
    unique_id: str = field(name="Uniqueid", default="")
    channel: str = field(name="Channel", default="")
    caller_id_num: str = field(name="CallerIDNum", default="")
    caller_id_name: str = field(name="CallerIDName", default="")
    connected_line_num: str = field(name="ConnectedLineNum", default="")
    connected_line_name: str = field(name="ConnectedLineName", default="")
    position: Int = field(name="Position", default=0)
    wait: Int = field(name="Wait", default=0)
    priority: Int | None = field(name="Priority", default=None)


class QueueCall(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AgentConnect and AgentComplete: the start and the end of a call to a member. Times are whole seconds.

    ``dest_unique_id`` is the member's channel. Asterisk 22 leaves out a channel that has ended already.
    """

    queue: str = field(name="Queue", default="")
    location: str = field(name="Interface", default="")
    unique_id: str = field(name="Uniqueid", default="")
    dest_unique_id: str = field(name="DestUniqueid", default="")
    hold_time: Int = field(name="HoldTime", default=0)
    talk_time: Int = field(name="TalkTime", default=0)
