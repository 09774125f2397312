"""A small engine for the machine of calls: events in, `Call` objects out; its table is JSON, as in PostgreSQL."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from projections.calls.call_rows import CallRow
from projections.calls.story.call_machine import CallMachine
from projections.calls.story.machine import shapes
from projections.calls.story.row import call_of
from projections.engine.decoding import DecodedEvent
from projections.engine.headers import HeaderSubset
from projections.engine.model import Key
from schemas.calls import Call
from schemas.log import NewEvent, RecordedEvent
from tests.support.folding import Event, recorded

SHAPES = shapes()
SUBSETS = {
    name: HeaderSubset(field.encode_name for field in msgspec.structs.fields(shape)) for name, shape in SHAPES.items()
}


def reasons(call: Call) -> list[str]:
    """Return the reasons of a call's gaps."""
    return [gap.reason for gap in call.gaps]


def shaped(event: RecordedEvent) -> Any:
    """Return the event as the machine takes it, None for one that it does not take."""
    shape = SHAPES.get(event.name)
    if shape is None or event.source not in {shape.source_of_events, shape.also_from}:
        return None
    return DecodedEvent(event, SUBSETS[event.name]).convert(shape)


def shaped_all(events: Sequence[NewEvent]) -> list[Any]:
    """Return the events that the machine takes, in order."""
    numbered = (recorded(position, event) for position, event in enumerate(events, 1))
    return [one for event in numbered if (one := shaped(event)) is not None]


class CallTable:
    """The table of calls, as the engine keeps it: rows by key, ended ones found by every id."""

    def __init__(self) -> None:
        self.rows: dict[Key, bytes] = {}
        self.ids: dict[tuple[str, str], Key] = {}
        self.machine = CallMachine()
        self.position = 0
        self.writes = 0

    def restart(self) -> None:
        """Throw the machine away, and fill another one from the table."""
        memory = msgspec.json.decode(msgspec.json.encode(self.machine.memory()))
        self.machine = CallMachine()
        self.machine.open(self.lasting(), memory)

    def lasting(self) -> list[CallRow]:
        """Return the rows of the open calls."""
        lasting = [row for row in self.rows.values() if not row.endswith(b'"story":null}')]
        return [msgspec.json.decode(row, type=CallRow) for row in lasting]

    def read(self) -> list[CallRow]:
        """Return all rows."""
        return [msgspec.json.decode(row, type=CallRow) for row in self.rows.values()]

    def take(self, *events: Event | Iterable[Event], pbx: str = "pbx") -> "CallTable":
        """Fold all events in one batch."""
        batch = []
        for one in events:
            for event in [one] if isinstance(one, Event) else one:
                self.position += 1
                batch.append(shaped(recorded(self.position, event, pbx)))
        return self.fold([event for event in batch if event is not None])

    def fold(self, batch: Sequence[Any]) -> "CallTable":
        """Fold a batch of shaped events, and write what it changed."""
        ids = {key for event in batch for key in self.machine.missing(event)}
        keys = dict.fromkeys(self.ids[one] for one in sorted(ids) if one in self.ids)
        self.machine.load([msgspec.json.decode(self.rows[key], type=CallRow) for key in keys if key in self.rows])
        dirty: dict[Key, None] = {}
        for event in batch:
            for key in self.machine.fold(event):
                dirty[key] = None
        for key in dirty:
            row = self.machine.row(key)
            if row is None:
                self.rows.pop(key, None)
            else:
                assert isinstance(row, CallRow)
                self.rows[key] = msgspec.json.encode(row)
                if row.body is not None:
                    self.ids |= dict.fromkeys(ids_of(row), key)
                self.writes += 1
        self.machine.forget()
        return self

    def calls(self, *, untold: bool = False) -> dict[str, Call]:
        """Return the calls by linked id, oldest first."""
        rows = sorted(self.read(), key=lambda row: row.number)
        return {row.linkedid: call_of(row) for row in rows if row.is_told or untold}

    def call(self) -> Call:
        """Return the only call."""
        (call,) = self.calls().values()
        return call


def ids_of(row: CallRow) -> set[tuple[str, str]]:
    """Return the ids by which the engine finds an ended row."""
    assert row.body is not None
    legs = [leg["unique_id"] for leg in row.body["legs"]]
    return {(row.pbx, unique_id) for unique_id in (row.linkedid, *row.aliases, *legs)}


def numbers_of(call: Mapping[str, Any]) -> set[str]:
    """Return the numbers by which the object of a call is filtered, digits only."""
    numbers = [party["number"] for party in call["parties"]]
    numbers += [call["caller"]["number_at_start"]] if call["caller"] else []
    numbers += [call["dialled"]["number"], *(one["to"] for one in call["forwards"])]
    numbers += [one["number"] for one in call["transfers"]]
    return {re.sub(r"\D", "", number or "") for number in numbers} - {""}
