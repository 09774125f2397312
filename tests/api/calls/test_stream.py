"""Messages about calls: what a client sees of a call that begins, changes, becomes part of an older one."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.calls import stream
from api.calls.stream import CALL_STREAM
from api.stream.messages import messages_of
from api.stream.resources import StreamCatalog
from projections.calls.call_rows import CallRow
from projections.calls.calls import CALLS
from projections.engine.state import FoldState
from projections.engine.step import Change, StepFold
from schemas.log import RecordedEvent
from services.calls.objects import call_object
from services.log.read import recorded_event
from tests.api.calls.conftest import LISTED, Early
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


EVENTS = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event WHERE position <= $1 AND name = ANY($2::text[]) ORDER BY position
"""


async def test_a_stream_has_what_the_view_serves(early: Early) -> None:
    """At each step of the fold: the objects of all messages so far, and the answers of /v1/calls."""
    step = StepFold([CALLS], {"calls": (FoldState(), [])})
    objects: dict[str, Any] = {}
    heirs: dict[str, str] = {}
    verbs: Counter[str] = Counter()
    rows = await early.ledger.connection.fetch(EVENTS, early.last, step.names)
    steps = iter(early.answers.items())
    until, answers = next(steps)
    for event in [*map(recorded_event, rows), None]:
        while event is None or event.position > until:
            served = {one["linkedid"]: one for one in answers[LISTED][1]["calls"]}
            assert objects == served, until
            for path, (status, body) in answers.items():
                if path.startswith("/v1/calls/") and status == 200:
                    assert objects[body["linkedid"]] == body, (path, until)
            if (following := next(steps, None)) is None:
                break
            until, answers = following
        if event is None:
            break
        for message in messages_of(event, step.apply(event), step, CATALOG):
            data = msgspec.json.decode(message.data)
            name = next(iter(data))
            linkedid, verb = message.topic.split("/")[2], name.rpartition(".")[2]
            assert (verb == "create") == (linkedid not in objects), (name, linkedid)
            verbs[verb] += 1
            if verb != "delete":
                objects[linkedid] = data[name]
            else:
                del objects[linkedid]
                heirs[linkedid] = data[name]["linkedid"]
    aliases = {alias: one["linkedid"] for one in objects.values() for alias in one["aliases"]}
    assert heirs.items() <= aliases.items()
    assert min(verbs["create"], verbs["update"], verbs["delete"]) > 0, verbs


def test_a_call_is_made_for_its_readers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noted(row: CallRow) -> dict[str, Any]:
        made.append(row.linkedid)
        return call_object(row)

    monkeypatch.setattr(stream, "call_object", noted)
    event = RecordedEvent(7, "pbx", "ami", "BridgeEnter", AT, b"", AT)
    step: Any = Rows(call(1), call(2))
    first, second = messages_of(event, [Change("calls", None, call(1)), Change("calls", None, call(2))], step, CATALOG)
    assert made == []
    assert msgspec.json.decode(second.data)["calls.call.create"] == call_object(call(2))
    assert (first.topic, made) == ("/calls/1.1/", ["2.1"])
