"""Rows of calls that have ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

from projections.calls.call_rows import CallRow
from services.calls.objects import LISTS

START = datetime(2026, 11, 23, 14, tzinfo=UTC)


def call(number: int, pbx: str = "pbx", **columns: Any) -> CallRow:
    started = START + timedelta(seconds=number // 2)  # two calls begin at the same moment
    linkedid = f"{number}.1"
    row: dict[str, Any] = {
        "linkedid": linkedid,
        "number": number,
        "started_at": started,
        "answered_at": None,
        "ended_at": started,
        "state": "ended",
        "is_told": True,
        "direction": "internal",
        "outcome": "answered",
        "is_originated": False,
        "is_transferred": False,
        "talk_seconds": float(number),
        "duration_seconds": 1.0,
        "body": {"linkedid": linkedid, "pbx": pbx, "talk_seconds": float(number), **{name: [] for name in LISTS}},
    }
    return CallRow(pbx=pbx, tm_update=started, **row | columns)
