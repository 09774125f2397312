"""Bloom filters of calls: every value of a call is among its bits, whatever its other values are."""

from hypothesis import given
from hypothesis import strategies as st

from projections.calls.bloom import FLAGS, TAG_BITS, bloom_of
from services.calls.listing import DIRECTIONS, OUTCOMES

tags = st.lists(st.tuples(st.sampled_from(["number", "queue"]), st.text(max_size=8)), max_size=20)


@given(tags, tags, st.sampled_from([None, *DIRECTIONS]), st.sampled_from([None, *OUTCOMES]), st.floats(0, 1e6))
def test_a_call_has_the_bits_of_its_values(
    some: list[tuple[str, str]],
    others: list[tuple[str, str]],
    direction: str | None,
    outcome: str | None,
    talk: float,
) -> None:
    whole = bloom_of([*some, *others], direction, outcome, talk, is_transferred=True)
    assert -(1 << 63) <= whole < 1 << 63
    for mask in (
        bloom_of(some, None, None, 0.0, is_transferred=False),
        bloom_of((), direction, None, 0.0, is_transferred=False),
        bloom_of((), None, outcome, 0.0, is_transferred=False),
        bloom_of((), None, None, talk / 2, is_transferred=False),
        bloom_of(others, None, None, 0.0, is_transferred=True),
    ):
        assert whole & mask == mask


def test_each_flag_has_its_own_bit() -> None:
    words = [f"direction={word}" for word in DIRECTIONS] + [f"outcome={word}" for word in OUTCOMES]
    assert {*words} == {flag for flag in FLAGS if flag.startswith(("direction=", "outcome="))}
    bits = {bloom_of((), word, None, 0.0, is_transferred=False) for word in DIRECTIONS}
    bits |= {bloom_of((), None, word, 0.0, is_transferred=False) for word in OUTCOMES}
    bits |= {bloom_of((), None, None, 0.0, is_transferred=True)}
    assert len(bits) == len(DIRECTIONS) + len(OUTCOMES) + 1
    assert {bit.bit_count() for bit in bits} == {1}


def test_bits_of_a_value_stay_the_same() -> None:
    value = bloom_of([("queue", "sales")], "inbound", "answered", 301.0, is_transferred=True)
    assert TAG_BITS == 45
    assert value == 2305843009348026386
