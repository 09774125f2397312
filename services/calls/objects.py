"""The objects of calls, made of their rows: an ended call is PostgreSQL's text, an open one is made here."""

from collections.abc import Mapping
from typing import Any

import msgspec

from projections.calls.call_rows import CallRow

LISTS = (
    *("parties", "rings", "conversations", "transfers", "pickups", "forwards", "queues", "holds", "parks"),
    *("conferences", "voicemails", "recordings", "legs", "gaps"),
)
"""The members of a call that a list leaves out unless it is full."""
ROW_COLUMNS = (
    *("pbx", "tm_update", "linkedid", "number", "started_at", "answered_at", "ended_at", "state", "is_told"),
    *("direction", "outcome", "is_originated", "is_transferred", "talk_seconds", "duration_seconds"),
    *("aliases", "sources", "story"),
)


def call_object(row: CallRow) -> dict[str, Any]:
    """Return the object of a call, ended or not."""
    if row.body is not None:
        return row.body
    # The machine of calls is large, and a process that serves no open call does not need it.
    from projections.calls.story.row import call_of, wire_of

    return wire_of(call_of(row))


def call_bytes(row: Mapping[str, Any], *, is_full: bool) -> bytes:
    """Return the JSON of the call of a row."""
    body: str | None = row["body"]
    if body is not None:
        return body.encode()
    call = call_object(CallRow(**{name: row[name] for name in ROW_COLUMNS}))
    return msgspec.json.encode(call if is_full else {n: v for n, v in call.items() if n not in LISTS})
