"""The topic /calls/<linkedid>: each change of a call.

A call that becomes part of an older one is deleted under its own id; the message then has the older call.
"""

from typing import Any

import msgspec

from api.stream.resources import StoredItem, StreamResource, segments_of
from projections.calls.call_rows import CallRow
from projections.engine.step import StepFold
from services.calls.objects import call_object


def store_call(row: Any, step: StepFold) -> bytes:
    """Return the row of a call, or of the older call that it has become part of."""
    rows = step.rows("calls")
    if (row.pbx, row.linkedid) not in rows:
        for other in rows.values():
            if other.pbx == row.pbx and row.linkedid in other.aliases:
                return msgspec.json.encode(other)
    return msgspec.json.encode(row)


def restore_call(stored: bytes) -> dict[str, Any]:
    """Return the object of a stored row; to make it takes ten times as long as to store the row."""
    return call_object(msgspec.json.decode(stored, type=CallRow))


def is_told(row: Any) -> bool:
    return bool(row.is_told)


CALL = StoredItem(store_call, restore_call)
CALL_STREAM = StreamResource("calls.call", "/calls", "calls", segments_of("linkedid"), CALL, is_told)
