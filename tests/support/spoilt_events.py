"""Events as a bad link may bring them."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

FARTHEST = 60
"""How many events later an event may come."""


def spoilt(events: Sequence[Any], dice: random.Random) -> Iterator[Any]:
    """Yield most events in order; lose one in twelve, double one in twenty, and bring some of the others late."""
    late: list[tuple[int, Any]] = []
    for number, event in enumerate(events):
        chance = dice.random()
        if chance < 1 / 12:
            continue
        if chance > 0.95:
            yield event
        if chance > 0.9:
            late.append((number + dice.randint(1, FARTHEST), event))
            continue
        yield event
        due = [item for item in late if item[0] <= number]
        late = [item for item in late if item[0] > number]
        yield from (item for _, item in due)
    yield from (item for _, item in late)
