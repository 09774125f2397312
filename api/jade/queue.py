"""/admin/queue: entries and queues (seed 001:3196-3328, 3509-3659)."""

from api.jade.hangup import hangs_up
from api.jade.resource import Resource

# The caller's names are its channel's, which are told of when they change; the queue knows those of its coming.
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

ENTRY_SQL = """
SELECT e.pbx, coalesce(c.channel, e.channel) AS channel
FROM queue_entries e
LEFT JOIN channels c ON c.pbx = e.pbx AND c.unique_id = e.unique_id
WHERE ($1::text IS NULL OR e.pbx = $1) AND e.unique_id = $2
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

hang_up_entry = hangs_up("queue_entries", ENTRY_SQL)
