"""One sample a minute of each PBX: how many channels, calls, callers waiting, members by state, events."""

import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.counts import Counted
from schemas.link import LinkEvent

STATES = ("UNKNOWN", "NOT_INUSE", "INUSE", "BUSY", "INVALID", "UNAVAILABLE", "RINGING", "RINGINUSE", "ONHOLD")
"""Asterisk's device states in the order of their numbers (``ast_devstate_str``)."""

OURS = re.compile(r"ringledger/([0-9]{1,12})/", re.ASCII)
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)


class Sample(Row):
    """What one PBX said of itself at the full ``minute`` (UTC); null is what it was not asked or did not answer.

    The listener writes a Minute on each full minute, and when the ``link`` is up takes a snapshot right after it; the
    numbers are those of that snapshot. Another one in the same minute (a reconnect, a reload) changes them only if
    the first was not completed. ``events`` are those of the minute before, null for the minute in which the listener
    began. ``members`` counts the devices of queue members by state, a device in two queues once.

    ``uuid`` is a version 1 UUID of the minute, with the PBX in place of the network card: `sampled` reads its time.
    ``epoch`` is the snapshot's; ``devices`` holds their states while it lasts.
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
    """Return the version 1 UUID of a minute of a PBX; always the same for the same two."""
    ticks = (minute - GREGORIAN) // timedelta(microseconds=1) * 10
    name = hashlib.sha256(pbx.encode()).digest()
    # The multicast bit says that the node is no network card's address (RFC 9562, 6.10).
    node = int.from_bytes(name[:6], "big") | 1 << 40
    version = ticks >> 48 & 0x0FFF | 0x1000
    return str(
        uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, version, name[6] & 0x3F | 0x80, name[7], node)),
    )


def sampled(text: str) -> datetime:
    """Return the time in a version 1 UUID. Raises ValueError for any other text, OverflowError for no such time."""
    found = uuid.UUID(text)
    if found.version != 1:
        raise ValueError(f"{text} is no UUID of version 1")
    return GREGORIAN + timedelta(microseconds=found.time // 10)


def full_minute(seconds: int) -> Key:
    if not 0 <= seconds < 1 << 33:
        raise ValueError(f"{seconds} is no time")
    return (datetime.fromtimestamp(seconds // 60 * 60, UTC),)


def of_minute(e: LinkEvent) -> Key:
    return full_minute(e.minute)


def epoch_of(action_id: str) -> int | None:
    """Return the epoch of the snapshot that an answer belongs to, None if it is to somebody else's question."""
    found = OURS.match(action_id)
    return int(found[1]) if found else None


def placed(memory: dict[str, Any], e: Any) -> Any:
    """Give what belongs to a snapshot the minute in which that began.

    Epochs rise whatever our clock does: after it was set back an epoch is no time, until the clock has caught up.
    """
    epoch = epoch_of(e.action_id) if isinstance(e, Counted) else e.epoch
    if epoch is None:
        return e
    if not isinstance(e, Counted) and e.type == "SnapshotStarted":
        began = int(e.recorded.timestamp())
        memory["began"] = [epoch, epoch if abs(epoch - began) < 60 else began]
    last, began = memory.get("began", (None, 0))
    return replace(e, minute=began if epoch == last else epoch)


def of_answer(e: Counted) -> Key | None:
    return None if epoch_of(e.action_id) is None else full_minute(e.minute)


def blank(key: Key, e: Any) -> Sample:
    return Sample(e.pbx, e.at, key[0], time_uuid(key[0], e.pbx), "up")


def ticked(row: Sample, e: LinkEvent) -> Sample:
    return replace(
        row,
        link=e.link,
        events=e.events,
        events_per_second=round(e.events / 60, 3),
        rejected_blocks=e.rejected_blocks,
        rejected_bytes=e.rejected_bytes,
    )


def started(row: Sample, e: LinkEvent) -> Sample:
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


def answers(row: Sample | None, e: Counted) -> bool:
    return row is not None and not row.complete and row.epoch is not None and epoch_of(e.action_id) == row.epoch


def channels(row: Sample | None, e: Counted) -> Sample | None:
    return replace(row, active_channels=e.list_items) if row and answers(row, e) else row


def status(row: Sample | None, e: Counted) -> Sample | None:
    return replace(row, active_calls=e.core_current_calls) if row and answers(row, e) else row


def waiting(row: Sample | None, e: Counted) -> Sample | None:
    return replace(row, callers_waiting=(row.callers_waiting or 0) + e.calls) if row and answers(row, e) else row


def member(row: Sample | None, e: Counted) -> Sample | None:
    return replace(row, devices={**row.devices, e.location: e.status}) if row and answers(row, e) else row


def answered(row: Sample | None, e: LinkEvent) -> Sample | None:
    """Take the end of a list: no queues are no callers, but half a list says nothing."""
    if row is None or row.complete or row.epoch != e.epoch:
        return row
    if e.action == "CoreShowChannels" and e.outcome == "empty":
        return replace(row, active_channels=0)
    if e.action == "QueueStatus" and e.outcome in {"complete", "empty"}:
        return replace(row, callers_waiting=row.callers_waiting or 0)
    if e.action == "QueueStatus":
        return replace(row, callers_waiting=None, devices={})
    return row


def completed(row: Sample | None, e: LinkEvent) -> Sample | None:
    if row is None or row.complete or row.epoch != e.epoch:
        return row
    members: dict[str, int] = {}
    for number in sorted(row.devices.values()):
        state = STATES[number] if 0 <= number < len(STATES) else str(number)
        members[state] = members.get(state, 0) + 1
    return replace(row, complete=True, members=members, devices={})


SAMPLES = ReadModel(
    name="samples",
    version=2,
    row=Sample,
    key=("minute",),
    is_state=False,
    on={
        "Minute": Handler(LinkEvent, of_minute, ticked, initial=blank),
        "SnapshotStarted": Handler(LinkEvent, of_minute, started, initial=blank, context=placed),
        "CoreShowChannelsComplete": Handler(Counted, of_answer, channels, context=placed),
        "Response:CoreStatus": Handler(Counted, of_answer, status, context=placed),
        "QueueParams": Handler(Counted, of_answer, waiting, context=placed),
        "QueueMember": Handler(Counted, of_answer, member, context=placed),
        "SnapshotListed": Handler(LinkEvent, of_minute, answered, context=placed),
        "SnapshotCompleted": Handler(LinkEvent, of_minute, completed, context=placed),
    },
)
