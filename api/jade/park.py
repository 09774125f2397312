"""/admin/park: parkedcalls and parkinglots (seed 001:2009-2318)."""

from api.jade.hangup import hangup_handler
from api.jade.resource import Resource
from services.commands.calls import PARKED_CALL

# A lot without a limit has no timeout: 0, which is also what Asterisk writes.
PARKED_CALLS_SQL = """
SELECT pbx, parkee_unique_id, parkee_linked_id, parkee_channel, parkee_channel_state, parkee_channel_state_desc,
       parkee_caller_id_name, parkee_caller_id_num, parkee_connected_line_name, parkee_connected_line_num,
       parkee_account_code, parkee_context, parkee_exten, parkee_priority, parker_dial_string, parking_lot,
       parking_space, tm_update,
       coalesce(greatest(0, floor(extract(epoch FROM $3::timestamptz - parked_at))), 0)::bigint AS parking_duration,
       coalesce(greatest(0, ceil(extract(epoch FROM timeout_at - $3::timestamptz))), 0)::bigint AS parking_timeout
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

PARKED_CALLS = Resource("parkedcalls", PARKED_CALLS_SQL, ("parked_calls",), ticks=True)
PARKING_LOTS = Resource("parkinglots", PARKING_LOTS_SQL, ("parking_lots",))

hang_up_parked_call = hangup_handler(PARKED_CALL)
