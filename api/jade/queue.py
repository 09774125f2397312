"""/admin/queue: entries and queues (seed 001:3196-3328, 3509-3659)."""

from api.jade.hangup import hangup_handler
from api.jade.resource import Resource
from services.commands.calls import QUEUE_ENTRY

# A caller's names come from its channel, which follows changes; the queue has those of the time of joining.
ENTRIES_SQL = """
SELECT e.pbx, e.unique_id, e.queue_name, coalesce(c.channel, e.channel) AS channel,
       coalesce(c.caller_id_name, e.caller_id_name) AS caller_id_name,
       coalesce(c.caller_id_num, e.caller_id_num) AS caller_id_num,
       coalesce(c.connected_line_name, e.connected_line_name) AS connected_line_name,
       coalesce(c.connected_line_num, e.connected_line_num) AS connected_line_num,
       e.position, e.priority, e.tm_update,
       greatest(0, floor(extract(epoch FROM $3::timestamptz - e.joined)))::bigint AS wait
FROM queue_entries e
LEFT JOIN channels c ON c.pbx = e.pbx AND c.unique_id = e.unique_id
WHERE ($1::text IS NULL OR e.pbx = $1) AND ($2::text IS NULL OR e.unique_id = $2)
ORDER BY e.pbx, e.queue_name, e.position
"""

QUEUES_SQL = """
SELECT pbx, name, strategy, max, weight, calls, completed, abandoned, hold_time, talk_time, service_level,
       service_level_perf, tm_update
FROM queues
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2)
ORDER BY pbx, name
"""

ENTRIES = Resource("entries", ENTRIES_SQL, ("queue_entries", "channels"), ticks=True)
QUEUES = Resource("queues", QUEUES_SQL, ("queues",))

hang_up_entry = hangup_handler(QUEUE_ENTRY)
