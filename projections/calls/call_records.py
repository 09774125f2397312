"""Call records: one row for each Cdr event, which is one row of Asterisk's own Master.csv, and for imported ones."""

import re
from datetime import datetime
from typing import Any

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.engine.pbx_clock import times
from schemas.ami.cdr import Cdr, QueueCall
from schemas.ami.transfer import LocalOptimization

MEMBERS = 10_000
DIALLED = 5_000


class CallRecord(Row):
    """One Cdr. Its key is its position in the log: without the mapping of Sequence nothing in it is unique.

    Times are UTC; ``utc_offset`` (seconds) gives the PBX's local time at the end back. ``disposition`` is Asterisk's
    word: ANSWERED, NO ANSWER, BUSY, FAILED, CONGESTION. ``queue`` is set while Queue() was the last application;
    ``agent`` then is the interface of the queue's member that this leg rang, without Local's options
    (``PJSIP/100``, ``Local/1001@agents``), and ``agent_name`` the name that the queue knew it by. A leg to a channel
    that is no member's has no agent: a member transferred the caller there.
    """

    position: int
    start_time: datetime
    answer_time: datetime | None
    end_time: datetime
    utc_offset: int
    duration: int
    billable_seconds: int
    disposition: str
    account_code: str
    source: str
    destination: str
    destination_context: str
    caller_id: str
    channel: str
    destination_channel: str
    last_application: str
    last_data: str
    ama_flags: str
    unique_id: str
    user_field: str
    linked_id: str
    sequence: int | None
    queue: str | None
    agent: str | None
    agent_name: str | None
    endpoint: str | None
    destination_endpoint: str | None


def by_position(record: CallRecord) -> Key:
    return (record.position,)


def nowhere(_e: Any) -> None:
    return None


def itself(_row: CallRecord | None, record: Any) -> Any:
    return record


SUFFIX = re.compile(r"-[0-9a-fA-F]+(?:;[12])?(?:<[A-Z]+>)?$")
LOCAL = re.compile(r"^(Local/[^@]+@[^/]+)/[a-zA-Z]+$")


def endpoint_of(channel: str) -> str | None:
    """Return what a channel is a call of: ``PJSIP/100-0000001a`` is ``PJSIP/100``."""
    return SUFFIX.sub("", channel) or None


def member_of(interface: str) -> str:
    """Return a queue member's interface without Local's options: ``Local/1001@agents/n`` is ``Local/1001@agents``."""
    return LOCAL.sub(r"\1", interface)


def called(memory: dict[str, Any], e: QueueCall) -> QueueCall:
    """Remember the member's name; and the member, where the channel that a queue dials does not show it.

    A member ``PJSIP/5551234@trunk`` is rung on a channel ``PJSIP/trunk-0000002f``. In the recordings every
    AgentCalled has exactly one Cdr with its Uniqueid and DestChannel, last application Queue. AgentConnect and
    AgentComplete name the channel that the call has come to since, after a forward or an optimised Local channel.
    """
    member = member_of(e.interface)
    names = memory.get("names", {})
    if names.get(member) != e.member_name and (member in names or len(names) < MEMBERS):
        memory["names"] = names | {member: e.member_name}
    dial(memory, e.dest_channel, member, e.position)
    return e


def optimized(memory: dict[str, Any], e: LocalOptimization) -> LocalOptimization:
    """Remember the member whose Local channel gives its place in a bridge to another channel."""
    local = endpoint_of(e.one_channel)
    dialled = memory.get("dialled", {}).get(e.one_channel)
    if member := dialled[0] if dialled else local if local in memory.get("names", {}) else None:
        dial(memory, e.source_channel, member, e.position)
    return e


def dial(memory: dict[str, Any], channel: str, member: str, position: int) -> None:
    """Remember the member that a channel belongs to, unless the channel's name shows it."""
    dialled = memory.get("dialled", {})
    if not channel or member == endpoint_of(channel):
        if channel in dialled:  # of another run of Asterisk, whose channels had the same names
            memory["dialled"] = {other: value for other, value in dialled.items() if other != channel}
        return
    dialled = dialled | {channel: [member, position]}
    if len(dialled) > DIALLED:
        del dialled[min(dialled, key=lambda other: dialled[other][1])]
    memory["dialled"] = dialled


def agent_of(memory: dict[str, Any], e: Cdr) -> str | None:
    """Return the member whose channel the record names, None if it is no member's."""
    endpoint, names = endpoint_of(e.destination_channel), memory.get("names", {})
    # Channels of another run of Asterisk have the same names.
    if e.log_source != "ami":
        return endpoint
    if dialled := memory.get("dialled", {}).get(e.destination_channel):
        return str(dialled[0])
    is_member = endpoint in names or not 0 < len(names) < MEMBERS
    return endpoint if is_member else None


def recorded(memory: dict[str, Any], e: Cdr) -> CallRecord:
    """Make the record of a Cdr event, or of an imported line of Master.csv; ``memory`` is of `called` and of the clock.

    Raises ValueError.
    """
    when = times(memory, e)
    queue = e.last_data.split(",", 1)[0] if e.last_application == "Queue" else ""
    agent = agent_of(memory, e) if queue and e.destination_channel else None
    return CallRecord(
        pbx=e.pbx,
        tm_update=e.at,
        position=e.position,
        start_time=when.start,
        answer_time=when.answer,
        end_time=when.end,
        utc_offset=when.offset,
        duration=e.duration,
        billable_seconds=e.billable_seconds,
        disposition=e.disposition,
        account_code=e.account_code,
        source=e.source,
        destination=e.destination,
        destination_context=e.destination_context,
        caller_id=e.caller_id,
        channel=e.channel,
        destination_channel=e.destination_channel,
        last_application=e.last_application,
        last_data=e.last_data,
        ama_flags=e.ama_flags,
        unique_id=e.unique_id,
        user_field=e.user_field,
        linked_id=e.linked_id,
        sequence=e.sequence,
        queue=queue or None,
        agent=agent,
        agent_name=memory.get("names", {}).get(agent) or None,
        endpoint=endpoint_of(e.channel),
        destination_endpoint=endpoint_of(e.destination_channel),
    )


CALL_RECORDS = ReadModel(
    name="call_records",
    version=3,
    row=CallRecord,
    key=("position",),
    is_state=False,
    on={
        **dict.fromkeys(
            ("AgentCalled", "AgentConnect", "AgentComplete"), Handler(QueueCall, nowhere, itself, context=called)
        ),
        "LocalOptimizationBegin": Handler(LocalOptimization, nowhere, itself, context=optimized),
        "Cdr": Handler(Cdr, by_position, itself, context=recorded),
    },
)
