"""Recordings as the listener would append them, whole, as snapshots, or cut into batches."""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeVar

import msgspec

from schemas.log import NewEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami.protocol import LedgerProtocol
from tests.captures import wire
from tests.support.folding import own

T = TypeVar("T")

LISTS = {
    "CoreShowChannelsComplete": "CoreShowChannels",
    "QueueStatusComplete": "QueueStatus",
    "AgentsComplete": "Agents",
    "ParkedCallsComplete": "ParkedCalls",
    "ParkinglotsComplete": "Parkinglots",
    "DeviceStateListComplete": "DeviceStateList",
}
ACTION_ID = re.compile(rb"\r\nActionID: ([^\r\n]+)")


def events_of_wire(data: bytes) -> list[NewEvent]:
    """Return the event blocks of a wire recording as the listener would append them.

    A block without a Timestamp was received at the time of the last block before it, so that durations are right.
    """
    events: list[NewEvent] = []
    protocol = LedgerProtocol(events.extend, lambda _: None)
    protocol.closed, protocol.responses = False, {}
    protocol.data_received(data)
    now = next(e.occurred for e in events if e.occurred)
    timed = []
    for e in events:
        now = max(now, e.occurred or 0)
        timed.append(msgspec.structs.replace(e, recorded=now))
    return timed


def action_id(raw: bytes) -> bytes | None:
    match = ACTION_ID.search(raw)
    return match[1] if match else None


@cache
def recording(name: str) -> tuple[NewEvent, ...]:
    """Return a recording's events, with list items as they were requested (no snapshots of the listener)."""
    return tuple(events_of_wire(wire(name)))


@cache
def snapshotted(name: str) -> tuple[NewEvent, ...]:
    """Return a recording whose whole lists are snapshots of the listener: one snapshot for each list."""
    events = recording(name)
    whole = {}
    for e in events:
        if e.name in LISTS and (number := action_id(e.raw)) is not None:
            whole[number] = LISTS[e.name]
    items: dict[bytes, int] = {}
    for e in events:
        if (number := action_id(e.raw)) in whole:
            items[number] = items.get(number, 0) + 1
    # The driver requested the status of one queue twice: this is not a whole list, so not a snapshot.
    whole = {number: action for number, action in whole.items() if action != "QueueStatus" or items[number] > 6}
    out: list[NewEvent] = []
    epochs: dict[bytes, int] = {}
    for e in events:
        number = action_id(e.raw)
        if number not in whole:
            out.append(e)
            continue
        action = whole[number]
        if number not in epochs:
            epochs[number] = len(epochs) + 1
            out.append(own(SnapshotStarted(epochs[number]), e.recorded))
        ours_id = f"\r\nActionID: ringledger/{epochs[number]}/{action}".encode()
        out.append(msgspec.structs.replace(e, raw=ACTION_ID.sub(ours_id, e.raw)))
        if e.name in LISTS:
            out.append(own(SnapshotListed(epochs[number], action, "complete"), e.recorded))
            out.append(own(SnapshotCompleted(epochs[number]), e.recorded))
    return tuple(out)


def cut(events: Sequence[T], longest: int, seed: int) -> Iterator[Sequence[T]]:
    """Cut events into batches of random sizes."""
    dice = random.Random(seed)
    start = 0
    while start < len(events):
        size = dice.randint(1, longest)
        yield events[start : start + size]
        start += size
