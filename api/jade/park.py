"""/admin/park: parkedcalls and parkinglots (seed 001:2009-2318)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from api.jade.durations import elapsed_seconds, remaining_seconds
from api.jade.hangup import hangup_handler
from api.jade.resource import Resource
from api.stream.resources import StreamResource, as_viewed, segments_of
from projections.engine.step import StepFold
from services.commands.calls import PARKED_CALL

# A lot without a limit has no timeout: 0, which is also what Asterisk writes.
PARKED_CALLS_SQL = """
SELECT pbx, parkee_unique_id, parkee_linked_id, parkee_channel, parkee_channel_state, parkee_channel_state_desc,
       parkee_caller_id_name, parkee_caller_id_num, parkee_connected_line_name, parkee_connected_line_num,
       parkee_account_code, parkee_context, parkee_exten, parkee_priority, parker_dial_string, parking_lot,
       parking_space, tm_update, parked_at, timeout_at
FROM parked_calls
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR parkee_unique_id = $2)
ORDER BY pbx, parking_lot, parking_space
"""

# The wire writes stop_spcae (seed 001:2246).
PARKING_LOTS_SQL = """
SELECT pbx, name, start_space, stop_space AS stop_spcae, timeout, tm_update
FROM parking_lots
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2)
ORDER BY pbx, name
"""


def parked_call(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    item = dict(row)
    item["parking_duration"] = elapsed_seconds(item.pop("parked_at"), now)
    item["parking_timeout"] = remaining_seconds(item.pop("timeout_at"), now)
    return item


PARKED_CALLS = Resource("parkedcalls", PARKED_CALLS_SQL, ("parked_calls",), parked_call, ticks=True)
PARKING_LOTS = Resource("parkinglots", PARKING_LOTS_SQL, ("parking_lots",))


def streamed_lot(row: Any, _at: datetime, _step: StepFold) -> dict[str, Any]:
    item = asdict(row)
    item["stop_spcae"] = item.pop("stop_space")
    return item


PARKED_CALL_STREAM = StreamResource(
    "park.parkedcall",
    "/park/parkedcalls",
    "parked_calls",
    segments_of("parking_lot", "parkee_unique_id"),
    as_viewed(parked_call),
)
PARKING_LOT_STREAM = StreamResource(
    "park.parkinglot", "/park/parkinglots", "parking_lots", segments_of("name"), streamed_lot
)

hang_up_parked_call = hangup_handler(PARKED_CALL)
