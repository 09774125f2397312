"""Local times of Cdr events in UTC: every zone, every change of summer time, every delay of posting."""

import random
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.engine.decoding import DecodedEvent
from projections.engine.pbx_clock import Times, times
from schemas.ami.cdr import Cdr
from schemas.log import RecordedEvent

Zone = Callable[[datetime], int]


def zone(first: int, *changes: tuple[str, int]) -> Zone:
    """Make a zone: its first offset in minutes, then from each UTC time another."""
    starts = [datetime.fromisoformat(f"{when}+00:00") for when, _ in changes]
    offsets = [first, *(offset for _, offset in changes)]
    return lambda when: offsets[bisect_right(starts, when)] * 60


BERLIN = zone(60, ("2026-03-29 01:00", 120), ("2026-10-25 01:00", 60))
NEW_YORK = zone(-300, ("2026-03-08 07:00", -240), ("2026-11-01 06:00", -300))
LORD_HOWE = zone(660, ("2026-04-04 15:00", 630), ("2026-10-03 15:30", 660))
KATHMANDU = zone(345)
KOLKATA = zone(330)
UTC_ZONE = zone(0)
ZONES = {
    "Berlin": BERLIN,
    "New York": NEW_YORK,
    "Lord Howe": LORD_HOWE,
    "Kathmandu": KATHMANDU,
    "Kolkata": KOLKATA,
    "UTC": UTC_ZONE,
    "Marquesas": zone(-570),
    "Chatham": zone(825, ("2026-04-04 14:00", 765), ("2026-09-26 14:00", 825)),
}


def cdr(
    at: Zone,
    start: datetime,
    ring: int | None,
    seconds: int,
    *,
    made: int = 0,
    posted: float = 0.2,
    stamped: bool = True,
    unique_id: str | None = None,
) -> Cdr:
    """Make the event of a call: answered after ``ring`` seconds, ended after ``seconds``.

    Its channel was created ``made`` seconds before the start; the record was posted ``posted`` seconds after the end.
    """
    end = start + timedelta(seconds=seconds)
    answer = None if ring is None else start + timedelta(seconds=ring)

    def local(when: datetime | None) -> str:
        return f"{when + timedelta(seconds=at(when)):%Y-%m-%d %H:%M:%S}" if when else ""

    headers = {
        "StartTime": local(start),
        "AnswerTime": local(answer),
        "EndTime": local(end),
        "Duration": seconds,
        "BillableSeconds": 0 if ring is None else seconds - ring,
        "UniqueID": f"{int(start.timestamp()) - made}.7" if unique_id is None else unique_id,
    }
    when = end + timedelta(seconds=posted)
    if stamped:
        headers["Timestamp"] = f"{when.timestamp():.6f}"
    raw = "Event: Cdr\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    shaped = DecodedEvent(RecordedEvent(1, "pbx", "ami", "Cdr", when, raw.encode(), when)).convert(Cdr)
    assert isinstance(shaped, Cdr)
    return shaped


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def true_times(at: Zone, start: datetime, ring: int | None, seconds: int) -> Times:
    end = start + timedelta(seconds=seconds)
    return Times(start, None if ring is None else start + timedelta(seconds=ring), end, at(end))


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("posted", [0, 0.9, 299, 451, 900, 1799])
def test_times_are_right_for_all_zones_and_delays(name: str, posted: float) -> None:
    at, start = ZONES[name], utc("2026-06-15 12:00:00")
    assert times({}, cdr(at, start, 5, 65, posted=posted)) == true_times(at, start, 5, 65)


@pytest.mark.parametrize("unique_id", ["", "originated-by-crm"])
def test_a_custom_channel_id_gives_the_same_times(unique_id: str) -> None:
    start = utc("2026-06-15 12:00:00")
    for at in ZONES.values():
        assert times({}, cdr(at, start, 5, 65, posted=200, unique_id=unique_id)) == true_times(at, start, 5, 65)


def test_a_system_name_may_precede_the_unique_id() -> None:
    start = utc("2026-06-15 12:00:00")
    named = f"pbx-1-{int(start.timestamp())}.19"
    assert times({}, cdr(BERLIN, start, 5, 65, posted=5000, unique_id=named)).offset == 7200


@pytest.mark.parametrize(
    ("at", "start", "shift"),
    [
        (BERLIN, "2026-03-29 00:59:30", 3600),
        (BERLIN, "2026-10-25 00:59:30", -3600),
        (NEW_YORK, "2026-03-08 06:59:30", 3600),
        (NEW_YORK, "2026-11-01 05:59:30", -3600),
        (LORD_HOWE, "2026-04-04 14:59:30", -1800),
        (LORD_HOWE, "2026-10-03 15:29:30", 1800),
    ],
)
@pytest.mark.parametrize("ring", [None, 10, 45, 3000])
@pytest.mark.parametrize("posted", [0.2, 280])
def test_summer_time_may_change_during_a_call(
    at: Zone, start: str, shift: int, ring: int | None, posted: float
) -> None:
    begin = utc(start)
    assert at(begin + timedelta(seconds=3600)) - at(begin) == shift
    got = times({}, cdr(at, begin, ring, 3600, posted=posted))
    assert got == true_times(at, begin, ring, 3600)
    assert (got.end - got.start).total_seconds() == 3600


def test_the_repeated_hour_is_resolved() -> None:
    first, second = utc("2026-10-25 00:30:00"), utc("2026-10-25 01:30:00")
    one, two = cdr(BERLIN, first, 3, 60), cdr(BERLIN, second, 3, 60)
    assert one.start_time == two.start_time
    assert times({}, one).start == first
    assert times({}, two).start == second


@pytest.mark.parametrize("skew", [-60, 0, 60])
def test_the_listeners_clock_replaces_a_missing_timestamp(skew: int) -> None:
    start = utc("2026-06-15 12:00:00")
    for at in ZONES.values():
        event = cdr(at, start, 5, 65, posted=250 + skew, stamped=False)
        assert times({}, event) == true_times(at, start, 5, 65)


def test_the_listeners_clock_may_be_an_hour_slow() -> None:
    start = utc("2026-06-15 12:00:00")
    event = cdr(KOLKATA, start, 5, 65, posted=-3600, stamped=False)
    assert times({}, event) == true_times(KOLKATA, start, 5, 65)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("ahead", [-3900, -600, 0, 600, 3900])
def test_clocks_may_differ_by_any_amount_without_timestamps(name: str, ahead: int) -> None:
    at, memory, start = ZONES[name], dict[str, Any](), utc("2026-06-15 12:00:00")
    for made, ring, posted in ((0, 5, 1), (40, 5, 1), (3700, None, 1), (0, None, 290), (3700, 5, 900)):
        event = cdr(at, start, ring, 65, made=made, posted=posted - ahead, stamped=False)
        assert times(memory, event) == true_times(at, start, ring, 65), (made, posted)


def test_a_zone_change_is_followed_without_timestamps() -> None:
    memory: dict[str, Any] = {}
    for when in ("2026-03-28 12:00:00", "2026-03-29 12:00:00", "2026-10-24 12:00:00", "2026-10-25 12:00:00"):
        event = cdr(BERLIN, utc(when), 5, 65, posted=-600, stamped=False)
        assert times(memory, event).offset == BERLIN(utc(when))


def test_a_late_leg_takes_the_last_certain_offset() -> None:
    """A queue rings a phone for 20 s, the caller talks to another for two hours, then Asterisk posts all records."""
    memory: dict[str, Any] = {}
    start = utc("2026-06-15 12:00:00")
    for at in (BERLIN, NEW_YORK, KATHMANDU):
        assert times(memory, cdr(at, start - timedelta(hours=1), 5, 65)).offset == at(start)
        late = cdr(at, start, None, 20, made=3600, posted=7200)
        assert times(memory, late) == true_times(at, start, None, 20)


def test_an_undecided_first_record_is_not_remembered() -> None:
    memory: dict[str, Any] = {}
    start = utc("2026-06-15 12:00:00")
    times(memory, cdr(BERLIN, start, None, 20, made=3600, posted=7200))
    assert "offset" not in memory
    # One time close to the posting decides the offset.
    assert times(memory, cdr(BERLIN, start, None, 20, made=4000, posted=1)).offset == 7200
    assert times(memory, cdr(BERLIN, start, None, 20, made=0, posted=7800)).offset == 7200


@pytest.mark.parametrize("seed", range(5))
def test_a_year_of_calls_has_right_times(seed: int) -> None:
    """Random calls in log order, with random rings, lengths and delays below half an hour on each side."""
    chance = random.Random(seed)
    for at in ZONES.values():
        memory: dict[str, Any] = {}
        when = utc("2026-01-01 00:00:00")
        while when < utc("2027-01-01 00:00:00"):
            when += timedelta(seconds=chance.randrange(60, 400_000))
            seconds = chance.choice((0, 1, 30, 600, 5000, 20_000))
            ring = chance.choice((None, 0, seconds // 3, seconds))
            event = cdr(at, when, ring, seconds, made=chance.choice((0, 1, 30)), posted=chance.choice((0, 3, 299, 899)))
            assert times(memory, event) == true_times(at, when, ring, seconds), (event, when)


def test_a_record_without_a_time_is_unfit() -> None:
    event = cdr(BERLIN, utc("2026-06-15 12:00:00"), 5, 65)
    for text in ("", "yesterday", "0000-00-00 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59"):
        raw = f"Event: Cdr\r\nStartTime: {text}\r\n".encode()
        broken = DecodedEvent(RecordedEvent(1, "pbx", "ami", "Cdr", event.at, raw, event.at))
        with pytest.raises(ValueError, match=r"."):
            times({}, broken.convert(Cdr))
