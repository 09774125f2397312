"""The calls of a page among the rows that the SQL of a list returns, and the place where the next page begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Place = tuple[datetime, int]
"""The start and the number of a call: its place in the order of calls."""


def page_of(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Place | None]:
    """Return the calls of a page, and the place after which the next one begins, None after the last.

    One call more than the limit shows that there is a next page; so does a walk that was cut.
    """
    calls = [row for row in rows if row["is_match"]]
    limit = rows[0]["page_size"] if rows else 0
    last = calls[limit - 1] if len(calls) > limit else next((row for row in rows if row["is_cut"]), None)
    return calls[:limit], None if last is None else (last["started_at"], last["number"])
