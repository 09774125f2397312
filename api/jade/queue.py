"""/admin/queue: entries and queues (seed 001:3196-3328, 3509-3659)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from api.jade.durations import elapsed_seconds
from api.jade.hangup import hangup_handler
from api.jade.resource import Resource
from api.stream.resources import StreamResource, segments_of, without
from projections.engine.step import StepFold
from services.commands.calls import QUEUE_ENTRY

# A caller's names come from its channel, which follows changes; the queue has those of the time of joining.
ENTRIES_SQL = """
SELECT e.pbx, e.unique_id, e.queue_name, coalesce(c.channel, e.channel) AS channel,
       coalesce(c.caller_id_name, e.caller_id_name) AS caller_id_name,
       coalesce(c.caller_id_num, e.caller_id_num) AS caller_id_num,
       coalesce(c.connected_line_name, e.connected_line_name) AS connected_line_name,
       coalesce(c.connected_line_num, e.connected_line_num) AS connected_line_num,
       e.position, e.priority, e.tm_update, e.joined
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


def entry(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    item = dict(row)
    item["wait"] = elapsed_seconds(item.pop("joined"), now)
    return item


ENTRIES = Resource("entries", ENTRIES_SQL, ("queue_entries", "channels"), entry, ticks=True)
QUEUES = Resource("queues", QUEUES_SQL, ("queues",))

CHANNEL_COLUMNS = ("channel", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num")


def streamed_entry(row: Any, at: datetime, step: StepFold) -> dict[str, Any]:
    """Return the object of a caller who waits: the names are those of the channel, while it exists."""
    item = asdict(row)
    del item["linked_id"]
    channel = step.rows("channels").get((row.pbx, row.unique_id))
    if channel is not None:
        for column in CHANNEL_COLUMNS:
            item[column] = getattr(channel, column)
    return entry(item, at)


ENTRY_STREAM = StreamResource(
    "queue.entry", "/queue/entries", "queue_entries", segments_of("queue_name", "unique_id"), streamed_entry
)
QUEUE_STREAM = StreamResource(
    "queue.queue",
    "/queue/queues",
    "queues",
    segments_of("name"),
    without(
        *("service_level_perf2", "completed_in_level", "abandoned_in_level", "hold_time_before", "waiting", "talking")
    ),
)

hang_up_entry = hangup_handler(QUEUE_ENTRY)
