"""Shapes made of a known layout's values equal those that msgspec converts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field

from projections import ALL
from projections.engine.decoding import DecodedEvent
from projections.engine.headers import HeaderSubset
from projections.engine.shapers import shaper_of
from projections.engine.subscriptions import subscriptions_of
from schemas.ami import AmiEvent, Float, Int
from schemas.log import RecordedEvent
from tests.support.folding import recorded
from tests.support.recorded_events import recording

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)


class Mixed(AmiEvent, frozen=True, kw_only=True):
    """A shape with every kind of member that shapes have."""

    name: str = field(name="Name", default="")
    word: str = field(name="Word", default="none")
    text: str | None = field(name="Text", default=None)
    number: Int = field(name="Number", default=7)
    cause: Int | None = field(name="Cause", default=None)
    share: Float | None = field(name="Share", default=None)
    is_paused: bool = field(name="Paused", default=False)
    absent: str = field(name="Absent", default="absent")
    source: str = field(name="_source", default="")
    event_name: str = field(name="_name", default="")


def outcome_of(decoded: DecodedEvent, shape: type[Struct]) -> object:
    try:
        return decoded.convert(shape)
    except ValueError as error:
        return str(error)


def event_of(values: list[str]) -> RecordedEvent:
    names = ("Name", "Word", "Text", "Number", "Cause", "Share", "Paused")
    lines = "".join(f"{name}: {value}\r\n" for name, value in zip(names, values, strict=True))
    return RecordedEvent(5, "pbx", "ami", "Mixed", AT, f"Event: Mixed\r\n{lines}\r\n".encode(), AT)


VALUE = st.sampled_from(["", "0", "1", "-5", "1.5", "null", "true", "nan", "x", "9" * 19, " 3", "\u00e9", "a: b"])


@given(st.lists(VALUE, min_size=7, max_size=7))
def test_a_shape_is_that_of_msgspec(values: list[str]) -> None:
    subset = HeaderSubset(member for member in ("Name", "Word", "Text", "Number", "Cause", "Share", "Paused"))
    subset.parse(event_of(["1"] * 7))
    event = event_of(values)
    assert subset.find(event) is not None
    assert outcome_of(DecodedEvent(event, subset), Mixed) == outcome_of(DecodedEvent(event), Mixed)


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_shapes_of_a_recording_are_msgspecs(capture: str) -> None:
    subscriptions = subscriptions_of(ALL)
    shapes = {name: {model.on[name].shape for model in ALL if name in model.on} for name in subscriptions}
    made = events = 0
    for position, new in enumerate(recording(capture), 1):
        event = recorded(position, new)
        if (subset := subscriptions.get(event.name, (None,))[0]) is None:
            continue
        decoded, whole = DecodedEvent(event, subset), DecodedEvent(event)
        for shape in shapes[event.name]:
            assert outcome_of(decoded, shape) == outcome_of(whole, shape)
        events += 1
        made += subset.find(event) is not None
    assert made > 0.9 * events  # otherwise the test compares msgspec with itself


class Needy(AmiEvent, frozen=True, kw_only=True):
    """A shape whose header must be there."""

    needed: str = field(name="Needed")


def test_a_shape_with_a_needed_header_is_msgspecs() -> None:
    assert shaper_of(("Needed",), Needy) is None
    assert shaper_of((), dict) is None
