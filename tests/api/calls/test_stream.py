"""Messages about calls: what a client sees of a call that begins, changes, becomes part of an older one."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from api.calls.stream import CALL_STREAM
from api.stream.messages import messages_of
from api.stream.resources import StreamCatalog
from projections.calls.call_rows import CallRow
from projections.engine.step import Change
from schemas.log import RecordedEvent
from tests.api.calls.rows import call

AT = datetime(2026, 11, 23, 14, tzinfo=UTC)
CATALOG = StreamCatalog((CALL_STREAM,))


class Rows:
    """The rows of calls after an event, as a fold in step has them."""

    def __init__(self, *rows: CallRow) -> None:
        self._rows = {(row.pbx, row.linkedid): row for row in rows}

    def rows(self, _model: str) -> dict[Any, CallRow]:
        return self._rows


def messages(changes: list[tuple[CallRow | None, CallRow | None]], *rows: CallRow) -> list[tuple[str, str, str]]:
    """Return the name, the topic and the linked id of each message."""
    event = RecordedEvent(7, "pbx", "ami", "BridgeEnter", AT, b"", AT)
    made: list[Change] = [Change("calls", before, after) for before, after in changes]
    step: Any = Rows(*rows)
    items = []
    for message in messages_of(event, made, step, CATALOG):
        data = msgspec.json.decode(message.data)
        name = next(iter(data))
        items.append((name, message.topic, data[name]["linkedid"]))
    return items


def test_a_call_is_created_changed_and_deleted() -> None:
    row = call(1)
    for change, verb in (((None, row), "create"), ((row, call(1, state="held")), "update"), ((row, None), "delete")):
        assert messages([change], row) == [(f"calls.call.{verb}", "/calls/1.1/", "1.1")]


def test_a_merged_call_is_deleted_for_the_older() -> None:
    older, younger = call(1, aliases=["2.1"]), call(2)
    assert messages([(call(1), older), (younger, None)], older) == [
        ("calls.call.update", "/calls/1.1/", "1.1"),
        ("calls.call.delete", "/calls/2.1/", "1.1"),
    ]


def test_a_call_without_a_person_does_not_exist() -> None:
    hidden, shown = call(1, is_told=False), call(1)
    assert messages([(None, hidden)], hidden) == []
    assert messages([(hidden, None)]) == []
    assert messages([(hidden, shown)], shown) == [("calls.call.create", "/calls/1.1/", "1.1")]
