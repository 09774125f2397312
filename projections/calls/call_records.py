"""Call records: one row per Cdr event (a row of Asterisk's own Master.csv), and per imported record."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.engine.pbx_clock import times
from schemas.ami.cdr import Cdr, QueueCall
from schemas.ami.transfer import LocalOptimization

MAX_MEMBERS = 10_000
MAX_DIALLED = 5_000


class CallRecord(Row):
    """One Cdr. Its key is its position in the log: without the mapping of Sequence no member of it is unique.

    Times are UTC; ``utc_offset`` (seconds) is that of the PBX's local time at the end. ``disposition`` is Asterisk's
    word: ANSWERED, NO ANSWER, BUSY, FAILED, CONGESTION. ``queue`` is set where Queue() was the last application. Then
    ``agent`` is the interface of the queue's member that this leg rang, without Local's options (``PJSIP/100``,
    ``Local/1001@agents``), and ``agent_name`` is the member's name in the queue. A leg to a channel of no member has no
    agent: a member transferred the caller there.
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


def no_row(_e: Any) -> None:
    return None


def keep_record(_row: CallRecord | None, record: Any) -> Any:
    return record


SUFFIX = re.compile(r"-[0-9a-fA-F]+(?:;[12])?(?:<[A-Z]+>)?$")
LOCAL = re.compile(r"^(Local/[^@]+@[^/]+)/[a-zA-Z]+$")


@lru_cache(4096)
def endpoint_of(channel: str) -> str | None:
    """Return the endpoint of a channel: ``PJSIP/100-0000001a`` is of ``PJSIP/100``."""
    return SUFFIX.sub("", channel) or None


def member_of(interface: str) -> str:
    """Return a queue member's interface without Local's options: ``Local/1001@agents/n`` is ``Local/1001@agents``."""
    return LOCAL.sub(r"\1", interface)


def remember_call(memory: dict[str, Any], e: QueueCall) -> QueueCall:
    """Remember the member's name, and the member itself where the name of the dialled channel does not show it.

    A member ``PJSIP/5551234@trunk`` is rung on a channel ``PJSIP/trunk-0000002f``. In the recordings every
    AgentCalled has exactly one Cdr with its Uniqueid and DestChannel, last application Queue. AgentConnect and
    AgentComplete name the present channel of the call, after a forward or an optimised Local channel.
    """
    member = member_of(e.interface)
    names = memory.get("names", {})
    if names.get(member) != e.member_name and (member in names or len(names) < MAX_MEMBERS):
        memory["names"] = names | {member: e.member_name}
    dial(memory, e.dest_channel, member, e.position)
    return e


def remember_optimization(memory: dict[str, Any], e: LocalOptimization) -> LocalOptimization:
    """Remember the member whose Local channel is replaced by another channel in a bridge."""
    local = endpoint_of(e.one_channel)
    dialled = memory.get("dialled", {}).get(e.one_channel)
    if member := dialled[0] if dialled else local if local in memory.get("names", {}) else None:
        dial(memory, e.source_channel, member, e.position)
    return e


def dial(memory: dict[str, Any], channel: str, member: str, position: int) -> None:
    """Remember the member of a channel, unless the channel's name shows it."""
    dialled = memory.get("dialled", {})
    if not channel or member == endpoint_of(channel):
        if channel in dialled:  # of another run of Asterisk, whose channels had the same names
            memory["dialled"] = {other: value for other, value in dialled.items() if other != channel}
        return
    dialled = dialled | {channel: [member, position]}
    if len(dialled) > MAX_DIALLED:
        del dialled[min(dialled, key=lambda other: dialled[other][1])]
    memory["dialled"] = dialled


def agent_of(memory: dict[str, Any], e: Cdr) -> str | None:
    """Return the member whose channel the record names, None for a channel of no member."""
    endpoint, names = endpoint_of(e.destination_channel), memory.get("names", {})
    # Channels of another run of Asterisk have the same names.
    if e.log_source != "ami":
        return endpoint
    if dialled := memory.get("dialled", {}).get(e.destination_channel):
        return str(dialled[0])
    is_member = endpoint in names or not 0 < len(names) < MAX_MEMBERS
    return endpoint if is_member else None


def record_of(memory: dict[str, Any], e: Cdr) -> CallRecord:
    """Return the record of a Cdr event, or of an imported line of Master.csv. Raises ValueError.

    ``memory`` is that of `remember_call` and of `pbx_clock.times`.
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
            ("AgentCalled", "AgentConnect", "AgentComplete"),
            Handler(QueueCall, no_row, keep_record, context=remember_call),
        ),
        "LocalOptimizationBegin": Handler(LocalOptimization, no_row, keep_record, context=remember_optimization),
        "Cdr": Handler(Cdr, by_position, keep_record, context=record_of),
    },
)
