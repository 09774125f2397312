"""The walker that judges every reply can say no."""

from typing import Any

import pytest

from tests.contract import misfits

SHAPE = {"n": "integer", "list": [{"s": "string", "t": "timestamp", "x": "number|null"}], "o": "object"}
GOOD: dict[str, Any] = {"n": 1, "list": [{"s": "", "t": "2026-11-23T01:02:03.5Z", "x": None}], "o": {}, "extra": 1}


def test_a_documented_shape_has_no_misfit() -> None:
    assert misfits(GOOD, SHAPE) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": "1"},
        {"n": True},
        {"n": 1.5},
        {"n": None},
        {"list": {}},
        {"list": [1]},
        {"list": [{"s": None, "t": "2026-11-23T01:02:03Z", "x": 1}]},
        {"list": [{"s": "", "t": "2026-11-23 01:02:03", "x": 1}]},
        {"list": [{"s": "", "t": "2026-13-23T01:02:03Z", "x": 1}]},
        {"list": [{"s": "", "t": "2026-11-23T01:02:03Z", "x": "1"}]},
        {"list": [{"s": "", "x": 1}]},
        {"o": []},
    ],
)
def test_each_misfit_is_named(wrong: dict[str, Any]) -> None:
    try:
        assert misfits(GOOD | wrong, SHAPE) != []
    except ValueError:
        assert "13" in str(wrong)


def test_a_missing_member_is_named_unless_optional() -> None:
    short = {"n": 1, "list": []}
    assert misfits(short, SHAPE) == ["o: missing"]
    assert misfits(short, SHAPE, frozenset({"o"})) == []
