"""Fold events into one model's rows, as the projector does, without a database."""

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.model import Key, ReadModel
from projections.engine.state import State
from projections.engine.subscriptions import event_names_of
from schemas.log import RecordedEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.runtime.masking.ami import masked

START = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)

LogEvent = bytes | RingledgerEvent


def ami(event: str, /, **headers: object) -> bytes:
    """Write an event block, or with "Response:<Action>" the reply to an action; "_" in a name stands for "-"."""
    kind, _, action = event.partition(":")
    first = f"Response: {headers.pop('Response', 'Success')}" if action else f"Event: {kind}"
    lines = [first, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return (f"{event}\0" if action else "").encode() + "\r\n".join(lines).encode()


def listing(action: str, *items: bytes, outcome: str = "complete", epoch: int = 7) -> Iterator[LogEvent]:
    """Ask once for ``action`` and nothing else: a whole snapshot."""
    yield SnapshotStarted(epoch)
    for item in items:
        start, end, rest = item.partition(b"\r\n")
        yield start + end + f"ActionID: ringledger/{epoch}/{action}\r\n".encode() + rest
    yield SnapshotListed(epoch, action, outcome)  # type: ignore[arg-type]
    yield SnapshotCompleted(epoch)


def recorded(position: int, event: LogEvent, pbx: str = "pbx") -> RecordedEvent:
    at = START + timedelta(seconds=position)
    if isinstance(event, RingledgerEvent):
        return RecordedEvent(position, pbx, "ringledger", type(event).__name__, at, msgspec.json.encode(event), at)
    name, separator, raw = event.partition(b"\0")
    if not separator:
        raw = event.lstrip()
        name = raw.split(b"\r\n", 1)[0].removeprefix(b"Event: ")
    return RecordedEvent(position, pbx, "ami", name.decode(), at, masked(raw), at)


class Folding:
    """One model's rows while it folds events; none may be unfit."""

    def __init__(self, model: ReadModel) -> None:
        self.model = model
        self.rows: dict[Key, Any] = {}
        self._state = State()
        self._positions = itertools.count(1)

    def tell(self, *events: LogEvent | Iterable[LogEvent], pbx: str = "pbx") -> dict[Key, Any]:
        """Fold, one event a batch, and return the rows of ``pbx`` by key."""
        for some in events:
            for event in [some] if isinstance(some, bytes | RingledgerEvent) else some:
                self._fold(DecodedEvent(recorded(next(self._positions), event, pbx)))
        return {key[1:]: row for key, row in self.rows.items() if key[0] == pbx}

    def _fold(self, decoded: DecodedEvent) -> None:
        if decoded.event.name not in event_names_of(self.model):
            return
        fold = Fold(self.model, self._state)
        fold.take(decoded)
        fold.load(self.rows.values(), lambda row: tuple(getattr(row, n) for n in ("pbx", *self.model.key)))
        fold.run()
        assert (fold.error, fold.rejected) == (None, [])
        self.rows, self._state = fold.rows, fold.state
