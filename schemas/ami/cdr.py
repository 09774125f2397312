"""Call detail records, and the queues' events about their calls."""

from typing import Annotated, ClassVar

from msgspec import Meta, field

from schemas.ami import AmiEvent, Int
from schemas.log import Source

Seconds = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""A duration whose sums fit PostgreSQL's bigint; a clock that was set back makes it negative."""


class Cdr(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Cdr of cdr_manager; times are the PBX's local time (``2026-11-22 00:56:23``), without a zone.

    ``linked_id`` and ``sequence`` exist when cdr_manager.conf maps them; ``answer_time`` is empty for an
    unanswered call. ``timestamp`` is empty where ``at`` is the listener's clock (``timestampevents = yes``).

    A line of Master.csv (``log_source`` is ``cdr_csv``) has the same members, but seldom LinkedID and Sequence.
    Its ``at`` is its end, because the import has the zone.
    """

    also_from: ClassVar[Source | None] = "cdr_csv"

    log_source: Source = field(name="_source", default="ami")
    timestamp: str = field(name="Timestamp", default="")
    account_code: str = field(name="AccountCode", default="")
    source: str = field(name="Source", default="")
    destination: str = field(name="Destination", default="")
    destination_context: str = field(name="DestinationContext", default="")
    caller_id: str = field(name="CallerID", default="")
    channel: str = field(name="Channel", default="")
    destination_channel: str = field(name="DestinationChannel", default="")
    last_application: str = field(name="LastApplication", default="")
    last_data: str = field(name="LastData", default="")
    start_time: str = field(name="StartTime", default="")
    answer_time: str = field(name="AnswerTime", default="")
    end_time: str = field(name="EndTime", default="")
    duration: Seconds = field(name="Duration", default=0)
    billable_seconds: Seconds = field(name="BillableSeconds", default=0)
    disposition: str = field(name="Disposition", default="")
    ama_flags: str = field(name="AMAFlags", default="")
    unique_id: str = field(name="UniqueID", default="")
    user_field: str = field(name="UserField", default="")
    linked_id: str = field(name="LinkedID", default="")
    sequence: Int | None = field(name="Sequence", default=None)


class QueueCall(AmiEvent, frozen=True, kw_only=True, gc=False):
    """QueueCallerJoin, QueueCallerAbandon, AgentCalled, AgentConnect, AgentComplete: a caller, and in some a member.

    ``interface`` is what the queue dials (``Local/1001@agents/n``), ``dest_channel`` what came of it; ``hold_time``
    is how long the caller has waited, in seconds.
    """

    queue: str = field(name="Queue", default="")
    unique_id: str = field(name="Uniqueid", default="")
    interface: str = field(name="Interface", default="")
    member_name: str = field(name="MemberName", default="")
    dest_channel: str = field(name="DestChannel", default="")
    hold_time: Seconds = field(name="HoldTime", default=0)
