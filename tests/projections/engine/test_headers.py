"""What is read of an event's bytes."""

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


def of_chosen(chosen: HeaderSubset, raw: bytes) -> dict[str, str]:
    return {name: value for name, value in chosen.parse(event(raw)).items() if name in chosen.names}


def of_all(chosen: HeaderSubset, raw: bytes) -> dict[str, str]:
    return {name: value for name, value in headers_of(event(raw)).items() if name in chosen.names}


def test_headers_as_asterisk_writes_them() -> None:
    raw = b"\r\nEvent: X\r\nA: 1\r\nB:2\r\nC:  3: 4\r\nD: \r\nE:\r\nno colon\r\nA: 5\r\nF: \xc3\xa9\xff\0\r\n\r\n"
    assert headers_of(event(raw)) == {"Event": "X", "A": "1\n5", "B": "2", "C": " 3: 4", "F": "\u00e9\ufffd\ufffd"}


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_chosen_headers_are_those_of_the_whole_block(capture: str) -> None:
    """Whatever is chosen, and whatever layouts were seen before, of every event of a recording."""
    numbers = random.Random(capture)
    chosen: dict[bytes, HeaderSubset] = {}
    known = blocks = 0
    for block in Framer().feed(wire(capture)):
        name = block.strip().split(b"\r\n", 1)[0]
        one = chosen.get(name)
        if one is None:
            names = [*headers_of(event(block)), "ActionID", "NeverSeen"]
            one = chosen[name] = HeaderSubset(numbers.sample(names, numbers.randint(1, len(names))))
        assert of_chosen(one, block) == of_all(one, block)
        known += one._match(block.decode("utf-8", "replace")) is not None
        blocks += 1
    assert known > 0.9 * blocks  # else it is not worth having


NAMES = st.sampled_from(["A", "B", "AB", "A.", "(C)", ""])
VALUES = st.text(st.sampled_from(list("a: \r\n\0\u00e9")), max_size=4)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([": ", ":", ""]), VALUES), max_size=6)


@given(st.lists(LINES, max_size=MAX_LAYOUTS + 2))
def test_chosen_headers_of_odd_blocks(blocks: list[list[tuple[str, str, str]]]) -> None:
    chosen = HeaderSubset(["A", "A.", "(C)", ""])
    for lines in blocks:
        raw = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in lines).encode() + b"\r\n"
        for _ in range(2):  # the second time its layout may be known
            assert of_chosen(chosen, raw) == of_all(chosen, raw)
