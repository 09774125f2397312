"""Query parameters: strict for Ringledger's own routes, lenient for the documented dialects."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from api.http.errors import ApiError
from api.http.paging import page
from api.http.query import QueryParams


def params(query: str, *names: str, is_strict: bool = True) -> QueryParams:
    return QueryParams(make_mocked_request("GET", f"/?{query}"), *names, is_strict=is_strict)


def test_a_strict_query_refuses_unknown_or_repeated_parameters() -> None:
    with pytest.raises(ApiError, match="other: unknown parameter; the parameters are pbx"):
        params("other=1", "pbx")
    with pytest.raises(ApiError, match="pbx: only one"):
        params("pbx=a&pbx=b", "pbx").text("pbx")
    assert params("pbx=a&authtoken=x", "pbx").text("pbx") == "a"


def test_a_lenient_query_takes_the_first_value() -> None:
    query = params("other=1&pbx=a&pbx=b", is_strict=False)
    assert (query.text("pbx"), query.texts("pbx"), query.text("none")) == ("a", ["a", "b"], None)


@pytest.mark.parametrize(
    ("method", "value", "result"),
    [
        ("position", "9223372036854775807", 9223372036854775807),
        ("epoch_seconds", "1764460800", datetime(2025, 11, 30, tzinfo=UTC)),
        ("time", "2026-11-30T01:00:00%2B01:00", datetime(2026, 11, 30, tzinfo=UTC)),
        ("time", "2026-11-30T01:00:00+01:00", datetime(2026, 11, 30, tzinfo=UTC)),
        ("time", "2026-11-30T00:00:00.000001999Z", datetime(2026, 11, 30, microsecond=1, tzinfo=UTC)),
        ("utf8", "%C3%A9", b"\xc3\xa9"),
    ],
)
def test_a_value_is_read_as_its_type(method: str, value: str, result: Any) -> None:
    assert getattr(params(f"x={value}", "x"), method)("x") == result


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("position", "9223372036854775808"),
        ("position", "-1"),
        ("epoch_seconds", "8589934593"),
        ("epoch_seconds", "1.5"),
        ("epoch_seconds", "%D9%A3"),
        ("time", "2026-13-01T00:00:00Z"),
        ("time", "2026-11-30"),
        ("time", "2026-11-30T00:00:00.0000019990Z"),
        ("utf8", ""),
        ("text", "%00"),
    ],
)
@pytest.mark.parametrize("is_strict", [True, False])
def test_a_malformed_value_is_refused(method: str, value: str, is_strict: bool) -> None:  # noqa: FBT001
    with pytest.raises(ApiError) as raised:
        getattr(params(f"x={value}", "x", is_strict=is_strict), method)("x")
    assert raised.value.status == 400


@pytest.mark.parametrize("value", ["0", "11", "x", "", "-1", "1.5", "0000000001"])
def test_a_number_has_bounds(value: str) -> None:
    with pytest.raises(ApiError, match="count: 1 to 10"):
        params(f"count={value}", "count").number("count", 5, 10)


def test_an_absent_number_is_the_default() -> None:
    assert params("", "count").number("count", 5, 10) == 5
    assert params("count=0010", "count").number("count", 5, 10) == 10
    with pytest.raises(ApiError):
        params("count=0010", "count").number("count", 5, 10, digits=3)


@pytest.mark.parametrize(("limit", "expected"), [(2, ([1, 2], 2)), (3, ([1, 2, 3], None)), (4, ([1, 2, 3], None))])
def test_a_page_before_more_items_has_a_cursor(limit: int, expected: tuple[list[int], int | None]) -> None:
    assert page([1, 2, 3], limit, lambda item: item) == expected
