"""The topic /calls/<linkedid>: each change of a call.

A call that becomes part of an older one is deleted under its own id; the message then has the older call.
"""

from datetime import datetime
from typing import Any

from api.stream.resources import StreamResource, segments_of
from projections.engine.step import StepFold
from services.calls.objects import call_object


def streamed_call(row: Any, _at: datetime, step: StepFold) -> dict[str, Any]:
    """Return the object of a call, or of the older call that it has become part of."""
    rows = step.rows("calls")
    if (row.pbx, row.linkedid) not in rows:
        for other in rows.values():
            if other.pbx == row.pbx and row.linkedid in other.aliases:
                return call_object(other)
    return call_object(row)


def is_told(row: Any) -> bool:
    return bool(row.is_told)


CALL_STREAM = StreamResource("calls.call", "/calls", "calls", segments_of("linkedid"), streamed_call, is_told)
