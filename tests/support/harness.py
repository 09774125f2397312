"""Folds recordings, or blocks written by hand, into models without a database."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.model import Key, ReadModel, Row
from projections.engine.state import State
from projections.engine.subscriptions import event_names_of
from schemas.log import NewEvent, RecordedEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami.protocol import LedgerProtocol
from tests.captures import wire

LISTS = {
    "CoreShowChannelsComplete": "CoreShowChannels",
    "QueueStatusComplete": "QueueStatus",
    "AgentsComplete": "Agents",
    "ParkedCallsComplete": "ParkedCalls",
    "ParkinglotsComplete": "Parkinglots",
    "DeviceStateListComplete": "DeviceStateList",
}
ACTION_ID = re.compile(rb"\r\nActionID: ([^\r\n]+)")


def received(data: bytes) -> list[NewEvent]:
    """Return the event blocks of a wire recording as the listener would put them into the log.

    A block without Timestamp is received at the time of the last block before it, so that durations are right.
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
    """Return a recording's events. Its lists are those of the recorded client, not snapshots of Ringledger."""
    return tuple(received(wire(name)))


@cache
def snapshotted(name: str) -> tuple[NewEvent, ...]:
    """Return a recording in which each whole list is one snapshot of Ringledger."""
    events = recording(name)
    whole = {}
    for e in events:
        if e.name in LISTS and (number := action_id(e.raw)) is not None:
            whole[number] = LISTS[e.name]
    items: dict[bytes, int] = {}
    for e in events:
        if (number := action_id(e.raw)) in whole:
            items[number] = items.get(number, 0) + 1
    # The driver requested the status of one queue twice. That is no whole list, so no snapshot has it.
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
            out.append(ours(SnapshotStarted(epochs[number]), e.recorded))
        ours_id = f"\r\nActionID: ringledger/{epochs[number]}/{action}".encode()
        out.append(msgspec.structs.replace(e, raw=ACTION_ID.sub(ours_id, e.raw)))
        if e.name in LISTS:
            out.append(ours(SnapshotListed(epochs[number], action, "complete"), e.recorded))
            out.append(ours(SnapshotCompleted(epochs[number]), e.recorded))
    return tuple(out)


def ours(event: RingledgerEvent, at: float) -> NewEvent:
    return NewEvent("ringledger", type(event).__name__, at, at, msgspec.json.encode(event))


def recorded(events: Iterable[NewEvent], pbx: str = "pbx", first: int = 1) -> Iterator[RecordedEvent]:
    for position, e in enumerate(events, first):
        at = datetime.fromtimestamp(e.recorded if e.occurred is None else e.occurred, UTC)
        yield RecordedEvent(position, pbx, e.source, e.name, at, e.raw, datetime.fromtimestamp(e.recorded, UTC))


class Tables:
    """The rows that models have folded, batch by batch as the projector does it, which loads only some rows."""

    def __init__(self, *models: ReadModel) -> None:
        self.models = models
        self.rows: dict[str, dict[Key, Row]] = {m.name: {} for m in models}
        self.states = {m.name: State() for m in models}
        self.unfit: list[tuple[int, str, str]] = []
        self.position = 0
        self._handled = frozenset().union(*(m.on for m in models))

    def fold(self, events: Iterable[NewEvent], pbx: str = "pbx") -> "Tables":
        """Fold one batch."""
        return self.take(list(recorded(events, pbx, self.position + 1)))

    def take(self, batch: list[RecordedEvent]) -> "Tables":
        """Fold one batch of a log that follows what was folded."""
        self.position += len(batch)
        decoded = [DecodedEvent(e) for e in batch if e.source == "ringledger" or e.name in self._handled]
        for model in self.models:
            self._advance(model, decoded)
        return self

    def _advance(self, model: ReadModel, decoded: list[DecodedEvent]) -> None:
        rows = self.rows[model.name]
        fold = Fold(model, self.states[model.name])
        for one in decoded:
            if one.event.name in event_names_of(model):
                fold.take(one)
        parts = 1 + (model.grouped_by or 0)
        loaded = [
            row
            for key, row in rows.items()
            if key[0] in fold.pbxes or key in fold.keys or (model.grouped_by is not None and key[:parts] in fold.groups)
        ]
        names = ("pbx", *model.key)
        fold.load([msgspec.structs.replace(row) for row in loaded], lambda row: tuple(getattr(row, n) for n in names))
        fold.run()
        assert fold.error is None, fold.error
        for key in fold.dirty:
            if key in fold.rows:
                rows[key] = fold.rows[key]
            else:
                rows.pop(key, None)
        self.unfit += fold.rejected
        self.states[model.name] = fold.state

    def of(self, model: ReadModel) -> dict[Key, Any]:
        """Return a model's rows by key, without the pbx."""
        return {key[1:]: row for key, row in self.rows[model.name].items()}


def cut(events: Sequence[NewEvent], longest: int, seed: int) -> Iterator[Sequence[NewEvent]]:
    """Cut events into batches of random sizes."""
    dice = random.Random(seed)
    start = 0
    while start < len(events):
        size = dice.randint(1, longest)
        yield events[start : start + size]
        start += size


def block(event: str, at: float | None = 1000.0, /, **headers: Any) -> NewEvent:
    """Make an AMI event as if it had just been received; ``at`` is its Timestamp, None for a list item."""
    lines = [f"Event: {event}"] + ([f"Timestamp: {at:.6f}"] if at is not None else [])
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return NewEvent("ami", event, at, at or 1000.0, ("\r\n".join(lines) + "\r\n\r\n").encode())


class ListSnapshot:
    """A snapshot under way, written by hand: its start, its items, the end of its list."""

    def __init__(self, action: str, epoch: int = 1, at: float = 1000.0) -> None:
        self.action, self.epoch, self.at = action, epoch, at
        self.start = ours(SnapshotStarted(epoch), at)
        self.end = ours(SnapshotListed(epoch, action, "complete"), at)
        self.empty = ours(SnapshotListed(epoch, action, "empty"), at)
        self.failed = ours(SnapshotListed(epoch, action, "failed"), at)
        self.over = ours(SnapshotCompleted(epoch), at)

    def item(self, event: str, **headers: Any) -> NewEvent:
        made = block(event, None, **headers, ActionID=f"ringledger/{self.epoch}/{self.action}")
        return msgspec.structs.replace(made, recorded=self.at)
