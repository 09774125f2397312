"""Tags: a filter finds a call by the same numbers and endpoints while it lasts and after its end."""

from projections.calls.call_rows import as_wire
from projections.calls.story.row import call_of
from projections.calls.story.tags import tags_of
from tests.captures import wire
from tests.support.calls import CallTable, numbers_of, shaped_all
from tests.support.recorded_events import events_of_wire

PART = 1_000_000
"""The bytes of the recording that are folded."""


def test_open_calls_have_the_tags_of_their_objects() -> None:
    events = shaped_all(events_of_wire(wire("rich22")[:PART]))
    table, compared = CallTable(), {True: 0, False: 0}
    for start in range(0, len(events), 25):
        table.fold(events[start : start + 25])
        for row in table.read():
            if row.is_told:
                call, tags = as_wire(call_of(row)), tags_of(row)
                assert {tag.value for tag in tags if tag.kind == "number"} == numbers_of(call)
                endpoints = {party["endpoint"] for party in call["parties"]}
                assert {tag.value for tag in tags if tag.kind == "endpoint"} == endpoints
                compared[row.body is None] += 1
    assert min(compared.values()) > 100
