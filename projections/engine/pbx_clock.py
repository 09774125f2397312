"""The local time of a PBX, which Cdr events give without a zone, turned into UTC.

A Cdr's own headers hold its zone in between: it was posted (Timestamp, UTC) after it ended (EndTime, local), and its
channel was made (UniqueID begins with the UTC second) before it started (StartTime, local). So

    EndTime - Timestamp  <=  offset  <=  StartTime - UniqueID

and most records leave one offset that any place on earth has. A record that leaves more is one leg of a call with an
hour or more both before or after it (legs are posted when the whole call is over), or comes from a channel whose
unique id says nothing (an originate may choose it). It takes the offset of the last record that left only one, or
before there was one, the likeliest: that its call started with its channel, or that it was posted promptly.

Without a Timestamp only our own clock says when a record was posted, and the two clocks may differ by any amount. So
there the PBX's own times decide: a call that started with its channel tells the offset, and others take the last one.

A change to or from summer time during the call shows in Duration, which is true seconds. What remains undecided is a
leg of such a long call within the first records after a change, or as the first record ever.
"""

import re
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from schemas.ami.cdr import Cdr

HOURS = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.5, 8.75, 9.5, 10.5, 12.75, 13.75, *range(-12, 15))
OFFSETS = tuple(sorted(int(hours * 3600) for hours in HOURS))
"""All offsets from UTC in use, in seconds."""

MADE = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")
STEP = 2
"""How far, in seconds, an NTP client may have moved the PBX's clock between two of a record's times."""
SKEW = 300
"""How far the PBX's clock and ours may differ, where nothing else says when a record was posted, or in which zone."""
PROMPT = 300
"""cdr.conf's batches are posted after so many seconds unless told otherwise."""
LONGEST_SHIFT = 3 * 3600


class Times(Struct, frozen=True):
    """A record's times in UTC; ``offset`` is local minus UTC at its end, in seconds."""

    start: datetime
    answer: datetime | None
    end: datetime
    offset: int


def times(memory: dict[str, Any], e: Cdr) -> Times:
    """Return the record's times; ``memory`` keeps the PBX's last certain offset. Raises ValueError (no time)."""
    start = local(e.start_time)
    end = local(e.end_time) if e.end_time else start + e.duration
    shift = _shift(end - start - e.duration)
    if e.log_source == "cdr_csv":
        offset = end - int(e.at.timestamp())  # whoever imported it knew
    else:
        made = made_at(e.unique_id) or made_at(e.linked_id)
        lowest = end - int(e.at.timestamp()) - (STEP if e.timestamp else SKEW)
        highest = start - made + shift + STEP if made else None
        offset = _offset(memory, lowest, highest) if e.timestamp else _unstamped(memory, lowest, highest)
    begun = start - offset + shift
    answer = local(e.answer_time) - offset if e.answer_time else None
    if (
        answer is not None
        and shift
        and abs(answer + shift - _answered(e, end - offset)) < abs(answer - _answered(e, end - offset))
    ):
        answer += shift
    return Times(_utc(begun), None if answer is None else _utc(answer), _utc(end - offset), offset)


def _unstamped(memory: dict[str, Any], lowest: int, highest: int | None) -> int:
    if close := _close(highest):
        memory["offset"] = close[0]
        return close[0]
    last = memory.get("offset")
    if last is not None and (highest is None or last <= highest):
        return int(last)
    return _offset(memory, lowest, highest)


def _close(highest: int | None) -> list[int]:
    """Return the offset by which the call started when its channel was made, if there is one."""
    return [o for o in OFFSETS if highest is not None and 0 <= highest - o <= 2 * STEP]


def _offset(memory: dict[str, Any], lowest: int, highest: int | None) -> int:
    possible = [o for o in OFFSETS if lowest <= o and (highest is None or o <= highest)]
    if len(possible) == 1:
        memory["offset"] = possible[0]
        return possible[0]
    last = memory.get("offset")
    if not possible:
        # The unique id does not fit, or our clock: believe the id if the call started when its channel was made.
        close = _close(highest)
        later = [o for o in OFFSETS if lowest <= o]
        return close[0] if close else later[0] if later else int(last or 0)
    if last in possible:
        return int(last)
    if highest is not None and highest - possible[-1] <= 2 * STEP:
        return possible[-1]  # it started when its channel was made, as most do
    return possible[0] if highest is None or possible[0] - lowest <= PROMPT + STEP else possible[-1]


def _shift(seconds: int) -> int:
    """Return by how much the clock was put forward (back: negative) during the call, 0 for no change of zone."""
    shift = round(seconds / 900) * 900
    return shift if abs(seconds - shift) <= STEP and abs(shift) <= LONGEST_SHIFT else 0


def _answered(e: Cdr, end: int) -> int:
    return end - e.billable_seconds


def made_at(unique_id: str) -> int:
    """Return the second, UTC, at which the channel was made, 0 if its unique id does not say."""
    found = MADE.search(unique_id)
    return int(found[1]) if found else 0


def local(text: str) -> int:
    """Return a local time as if it were UTC, in seconds since the epoch. Raises ValueError."""
    when = datetime.fromisoformat(text).replace(tzinfo=UTC)
    if not 1970 < when.year < 9000:
        raise ValueError(f"{text} is no time of a call")
    return int(when.timestamp())


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
