"""Sums of statistics rows, as every reader of the model adds them up, and the periods that they are for."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

CALLS = ("calls", "answered", "no_answer", "busy", "failed", "congestion", "talk_seconds", "ring_seconds")
QUEUE = ("entered", "connected")
Period = Callable[[str], tuple[datetime, datetime]]


def day(text: str) -> tuple[datetime, datetime]:
    """Return the beginning and end of a date. Raises ValueError."""
    start = _start(r"\d{4}-\d\d-\d\d", text, "%Y-%m-%d")
    return start, start + timedelta(days=1)


def month(text: str) -> tuple[datetime, datetime]:
    """Return the beginning and end of a month. Raises ValueError."""
    start = _start(r"\d{4}-\d\d", text, "%Y-%m")
    return start, (start + timedelta(days=31)).replace(day=1)


def _start(pattern: str, text: str, form: str) -> datetime:
    if not re.fullmatch(pattern, text, re.ASCII) or text >= "9999":
        raise ValueError(text)
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def add(to: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Add a row of the table to the sums of one name."""
    for name in (*CALLS, *(QUEUE if row["scope"] == "queue" else ("connected",) if row["scope"] == "agent" else ())):
        to[name] = to.get(name, 0) + row[name]
    to["longest_seconds"] = max(to.get("longest_seconds", 0), row["longest_seconds"])
    to["by_hour"] = [a + b for a, b in zip(to.get("by_hour", [0] * 24), row["by_hour"], strict=True)]
    if row["scope"] == "agent":
        to["name"] = row["label"] or to.get("name", "")
