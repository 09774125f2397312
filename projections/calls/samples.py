"""One sample per minute of each PBX: counts of channels, calls, waiting callers, members by state, and events."""

import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.counts import SnapshotCount
from schemas.link import LinkEvent

DEVICE_STATES = ("UNKNOWN", "NOT_INUSE", "INUSE", "BUSY", "INVALID", "UNAVAILABLE", "RINGING", "RINGINUSE", "ONHOLD")
"""Asterisk's device states in the order of their numbers (``ast_devstate_str``)."""

OWN_ACTION_ID = re.compile(r"ringledger/([0-9]{1,12})/", re.ASCII)
GREGORIAN_START = datetime(1582, 10, 15, tzinfo=UTC)


class Sample(Row):
    """The counts of one PBX at the full ``minute`` (UTC); a count without a complete list is null.

    The listener writes a Minute on each full minute. When the ``link`` is up, it takes a snapshot right after that,
    which has the counts. Another snapshot in the same minute (a reconnect, a reload) changes them only if the first one
    was not completed. ``events`` counts those of the minute before, null for the first minute of a listener.
    ``members`` counts the devices of queue members by state, a device in two queues once.

    ``uuid`` is a version 1 UUID of the minute, with the PBX in place of the network card: `time_of` reads its time.
    ``epoch`` is that of the snapshot; ``devices`` holds the members' states while the snapshot lasts.
    """

    minute: datetime
    uuid: str
    link: str
    events: int | None = None
    events_per_second: float | None = None
    rejected_blocks: int | None = None
    rejected_bytes: int | None = None
    active_channels: int | None = None
    active_calls: int | None = None
    callers_waiting: int | None = None
    members: dict[str, int] = field(default_factory=dict)
    epoch: int | None = None
    complete: bool = False
    devices: dict[str, int] = field(default_factory=dict)


def time_uuid(minute: datetime, pbx: str) -> str:
    """Return the version 1 UUID of a minute of a PBX; it is the same in every process."""
    ticks = (minute - GREGORIAN_START) // timedelta(microseconds=1) * 10
    name = hashlib.sha256(pbx.encode()).digest()
    # The multicast bit marks a node that is not the address of a network card (RFC 9562, 6.10).
    node = int.from_bytes(name[:6], "big") | 1 << 40
    version = ticks >> 48 & 0x0FFF | 0x1000
    return str(
        uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, version, name[6] & 0x3F | 0x80, name[7], node)),
    )


def time_of(text: str) -> datetime:
    """Return the time in a version 1 UUID. Raises ValueError for other texts, OverflowError for an impossible time."""
    parsed = uuid.UUID(text)
    if parsed.version != 1:
        raise ValueError(f"{text} is not a UUID of version 1")
    return GREGORIAN_START + timedelta(microseconds=parsed.time // 10)


def full_minute(seconds: int) -> Key:
    if not 0 <= seconds < 1 << 33:
        raise ValueError(f"{seconds} is not a time")
    return (datetime.fromtimestamp(seconds // 60 * 60, UTC),)


def of_minute(e: LinkEvent) -> Key:
    return full_minute(e.minute)


def epoch_of(action_id: str) -> int | None:
    """Return the epoch of the snapshot to which a response belongs, None for the response to another action."""
    match = OWN_ACTION_ID.match(action_id)
    return int(match[1]) if match else None


def with_snapshot_start(memory: dict[str, Any], e: Any) -> Any:
    """Return an event of a snapshot with the minute in which the snapshot began.

    Epochs rise even when the machine's clock is set back: until the clock has caught up, an epoch is not a time.
    """
    epoch = epoch_of(e.action_id) if isinstance(e, SnapshotCount) else e.epoch
    if epoch is None:
        return e
    if not isinstance(e, SnapshotCount) and e.type == "SnapshotStarted":
        began = int(e.recorded.timestamp())
        memory["began"] = [epoch, epoch if abs(epoch - began) < 60 else began]
    last, began = memory.get("began", (None, 0))
    return replace(e, minute=began if epoch == last else epoch)


def of_answer(e: SnapshotCount) -> Key | None:
    return None if epoch_of(e.action_id) is None else full_minute(e.minute)


def initial(key: Key, e: Any) -> Sample:
    return Sample(e.pbx, e.at, key[0], time_uuid(key[0], e.pbx), "up")


def count_minute(row: Sample, e: LinkEvent) -> Sample:
    return replace(
        row,
        link=e.link,
        events=e.events,
        events_per_second=round(e.events / 60, 3),
        rejected_blocks=e.rejected_blocks,
        rejected_bytes=e.rejected_bytes,
    )


def start_snapshot(row: Sample, e: LinkEvent) -> Sample:
    if row.link != "up" or row.complete:
        return row
    return replace(
        row,
        epoch=e.epoch,
        active_channels=None,
        active_calls=None,
        callers_waiting=None,
        members={},
        devices={},
    )


def accepts(row: Sample | None, e: SnapshotCount) -> bool:
    return row is not None and not row.complete and row.epoch is not None and epoch_of(e.action_id) == row.epoch


def count_channels(row: Sample | None, e: SnapshotCount) -> Sample | None:
    return replace(row, active_channels=e.list_items) if row and accepts(row, e) else row


def count_calls(row: Sample | None, e: SnapshotCount) -> Sample | None:
    return replace(row, active_calls=e.core_current_calls) if row and accepts(row, e) else row


def count_callers(row: Sample | None, e: SnapshotCount) -> Sample | None:
    return replace(row, callers_waiting=(row.callers_waiting or 0) + e.calls) if row and accepts(row, e) else row


def add_member(row: Sample | None, e: SnapshotCount) -> Sample | None:
    return replace(row, devices={**row.devices, e.location: e.status}) if row and accepts(row, e) else row


def complete_list(row: Sample | None, e: LinkEvent) -> Sample | None:
    """Complete the counts of a list: an empty list counts as 0, and an incomplete one clears its counts."""
    if row is None or row.complete or row.epoch != e.epoch:
        return row
    if e.action == "CoreShowChannels" and e.outcome == "empty":
        return replace(row, active_channels=0)
    if e.action == "QueueStatus" and e.outcome in {"complete", "empty"}:
        return replace(row, callers_waiting=row.callers_waiting or 0)
    if e.action == "QueueStatus":
        return replace(row, callers_waiting=None, devices={})
    return row


def complete_snapshot(row: Sample | None, e: LinkEvent) -> Sample | None:
    if row is None or row.complete or row.epoch != e.epoch:
        return row
    members: dict[str, int] = {}
    for number in sorted(row.devices.values()):
        state = DEVICE_STATES[number] if 0 <= number < len(DEVICE_STATES) else str(number)
        members[state] = members.get(state, 0) + 1
    return replace(row, complete=True, members=members, devices={})


SAMPLES = ReadModel(
    name="samples",
    version=2,
    row=Sample,
    key=("minute",),
    is_state=False,
    on={
        "Minute": Handler(LinkEvent, of_minute, count_minute, initial=initial),
        "SnapshotStarted": Handler(LinkEvent, of_minute, start_snapshot, initial=initial, context=with_snapshot_start),
        "CoreShowChannelsComplete": Handler(SnapshotCount, of_answer, count_channels, context=with_snapshot_start),
        "Response:CoreStatus": Handler(SnapshotCount, of_answer, count_calls, context=with_snapshot_start),
        "QueueParams": Handler(SnapshotCount, of_answer, count_callers, context=with_snapshot_start),
        "QueueMember": Handler(SnapshotCount, of_answer, add_member, context=with_snapshot_start),
        "SnapshotListed": Handler(LinkEvent, of_minute, complete_list, context=with_snapshot_start),
        "SnapshotCompleted": Handler(LinkEvent, of_minute, complete_snapshot, context=with_snapshot_start),
    },
)
