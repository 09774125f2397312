"""Times of the log as text and as microseconds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.log.times import from_microseconds, parse_rfc3339, rfc3339, to_microseconds

AT = datetime(2026, 11, 23, 14, 3, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T14:03:00.25Z",
        "2026-11-23 14:03:00.250z",
        "2026-11-23t15:03:00.2500009+01:00",
        "2026-11-23T15:03:00.25 01:00",  # a plus sign of a query string
        "2026-11-23T10:03:00.25-04:00",
    ],
)
def test_a_time_is_parsed_into_utc(text: str) -> None:
    assert parse_rfc3339(text) == AT


@pytest.mark.parametrize(
    "text", ["", "2026-11-23", "2026-11-23T14:03:00", "2026-02-30T14:03:00Z", "٢026-11-23T14:03:00Z"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


def test_a_time_outside_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339("0001-01-01T00:00:00+01:00")


def test_a_time_is_printed_in_utc() -> None:
    berlin = AT.astimezone(timezone(timedelta(hours=1)))
    assert rfc3339(berlin) == "2026-11-23T14:03:00.250000Z"
    assert rfc3339(AT.replace(microsecond=0)) == "2026-11-23T14:03:00Z"
    assert rfc3339(berlin, "seconds") == "2026-11-23T14:03:00Z"


def test_microseconds_are_whole_and_reversible() -> None:
    assert to_microseconds(AT) == 1_795_442_580_250_000
    assert from_microseconds(to_microseconds(AT)) == AT
