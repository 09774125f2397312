"""Headers parsed from the bytes of an event."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.headers import MAX_LAYOUTS, HeaderSubset, headers_of
from schemas.log import RecordedEvent
from services.asterisk.ami.framing import Framer
from tests.captures import wire


def event(raw: bytes) -> RecordedEvent:
    return RecordedEvent(1, "pbx", "ami", "", datetime.now(UTC), raw, datetime.now(UTC))


def parse_subset(subset: HeaderSubset, raw: bytes) -> dict[str, str]:
    return {name: value for name, value in subset.parse(event(raw)).items() if name in subset.names}


def parse_all(subset: HeaderSubset, raw: bytes) -> dict[str, str]:
    return {name: value for name, value in headers_of(event(raw)).items() if name in subset.names}


def test_headers_are_parsed_as_asterisk_writes_them() -> None:
    raw = b"\r\nEvent: X\r\nA: 1\r\nB:2\r\nC:  3: 4\r\nD: \r\nE:\r\nno colon\r\nA: 5\r\nF: \xc3\xa9\xff\0\r\n\r\n"
    assert headers_of(event(raw)) == {"Event": "X", "A": "1\n5", "B": "2", "C": " 3: 4", "F": "\u00e9\ufffd\ufffd"}


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_a_subset_equals_the_whole_blocks_headers(capture: str) -> None:
    """Random subsets, with the layouts of earlier events, parse every event of a recording."""
    numbers = random.Random(capture)
    subsets: dict[bytes, HeaderSubset] = {}
    matches = blocks = 0
    for block in Framer().feed(wire(capture)):
        name = block.strip().split(b"\r\n", 1)[0]
        one = subsets.get(name)
        if one is None:
            names = [*headers_of(event(block)), "ActionID", "NeverSeen"]
            one = subsets[name] = HeaderSubset(numbers.sample(names, numbers.randint(1, len(names))))
        assert parse_subset(one, block) == parse_all(one, block)
        matches += one.find(event(block)) is not None
        blocks += 1
    assert matches > 0.9 * blocks  # otherwise cached layouts would save too little


NAMES = st.sampled_from(["A", "B", "AB", "A.", "(C)", ""])
VALUES = st.text(st.sampled_from(list("a: \r\n\0\u00e9")), max_size=4)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([": ", ":", ""]), VALUES), max_size=6)


@given(st.lists(LINES, max_size=MAX_LAYOUTS + 2))
def test_a_subset_equals_the_headers_of_odd_blocks(blocks: list[list[tuple[str, str, str]]]) -> None:
    subset = HeaderSubset(["A", "A.", "(C)", ""])
    for lines in blocks:
        raw = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in lines).encode() + b"\r\n"
        for _ in range(2):  # the second parse may match a cached layout
            assert parse_subset(subset, raw) == parse_all(subset, raw)
