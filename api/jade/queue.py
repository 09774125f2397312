"""/admin/queue: entries, members, queues (seed 001:3196-3659)."""

from aiohttp import web

from api.errors import ApiError
from api.jade.resource import Resource, admin, detail, everything
from api.views import Args, checked

# The caller's names are its channel's, which are told of when they change; the queue knows those of its coming.
ENTRIES = """
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

# Two members of a queue may share a name: then the one whose interface it is, or the first, is the detail.
MEMBERS = """
SELECT pbx, name || '@' || queue_name AS id, name, queue_name, status, membership, state_interface, location, paused,
       paused_reason, penalty, calls_taken, in_call, last_call, last_pause, ring_inuse, tm_update
FROM queue_members
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR queue_name = $3)
ORDER BY pbx, queue_name, location = $2 DESC, location
"""

QUEUES = """
SELECT pbx, name, strategy, max, weight, calls, completed, abandoned, hold_time, talk_time, service_level,
       service_level_perf, tm_update
FROM queues
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2)
ORDER BY pbx, name
"""


def members(request: web.Request) -> Args:
    """Ask for all members, or those of ``?queue_name=``."""
    queue = request.query.get("queue_name")
    return (*everything(request), queue if queue is None else checked(queue))


def member(request: web.Request) -> Args:
    """Ask for the member of that name in ``?queue_name=``."""
    if "queue_name" not in request.query:
        raise ApiError(400, "queue_name is needed")
    return (*detail(request), checked(request.query["queue_name"]))


ROUTES: list[web.RouteDef] = [
    *admin(Resource("entries", ENTRIES, ("queue_entries", "channels"), ticks=True), "queue/entries"),
    *admin(Resource("members", MEMBERS, ("queue_members",), all_by=members, one_by=member), "queue/members"),
    *admin(Resource("queues", QUEUES, ("queues",)), "queue/queues"),
]
