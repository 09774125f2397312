"""A link that lasts for a part of a recording."""

import msgspec

from projections.calls.calls import CALLS
from schemas.log import Connected, NewEvent
from tests.captures import wire
from tests.support.folding import own
from tests.support.story import events_of


def part_of(name: str) -> list[NewEvent]:
    """Return the AMI events of a link that lasts from the second to the fourth minute of a recording."""
    events = events_of(wire(name), *CALLS.on)
    first = next(e.occurred for e in events if e.occurred) + 60
    events = [e for e in events if e.occurred and first <= e.occurred < first + 120]
    end = msgspec.json.encode({"type": "Disconnected", "reason": "test", "heard": first + 120})
    link = own(Connected("pbx"), first)
    return [link, *events, NewEvent("ringledger", "Disconnected", first + 120, first + 120, end)]
