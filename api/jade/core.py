"""/admin/core: channels and systems (seed 001:593-818, 1011-1195)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.jade.durations import elapsed_seconds
from api.jade.hangup import hangup_handler
from api.jade.resource import Resource
from api.stream.resources import StreamResource, as_viewed, segments_of, without
from schemas.secrets import MASK, is_secret
from services.commands.calls import CHANNEL
from services.runtime.masking.application import mask_application_data

CHANNELS_SQL = """
SELECT pbx, unique_id, linked_id, channel, channel_state, channel_state_desc, context, exten, priority,
       caller_id_name, caller_id_num, connected_line_name, connected_line_num, account_code, language,
       application, application_data, bridge_id, hangup_cause, hangup_cause_desc, variables, tm_update, created
FROM channels
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR unique_id = $2)
ORDER BY pbx, unique_id
"""

SYSTEMS_SQL = """
SELECT pbx, id, system_name, ami_version, ast_version, cdr_enabled, http_enabled, current_calls, max_calls,
       max_file_handles, max_load_avg, real_time_enabled, reload_date, reload_time, run_group, run_user,
       startup_date, startup_time, tm_update
FROM systems
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR id = $2)
ORDER BY pbx, id
"""


def channel(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return a channel without secrets, which older logs may hold in variables and in application data."""
    item = dict(row)
    item["variables"] = {name: MASK if is_secret(name) else value for name, value in item["variables"].items()}
    item["application_data"] = item["application_data"] and mask_application_data(
        item["application"], item["application_data"]
    )
    item["duration"] = elapsed_seconds(item.pop("created"), now)
    return item


CHANNELS = Resource("channels", CHANNELS_SQL, ("channels",), channel, ticks=True)
SYSTEMS = Resource("systems", SYSTEMS_SQL, ("systems",))

CHANNEL_STREAM = StreamResource(
    "core.channel", "/core/channels", "channels", segments_of("unique_id"), as_viewed(channel)
)
SYSTEM_STREAM = StreamResource("core.system", "/core/systems", "systems", segments_of("id"), without())

hang_up_channel = hangup_handler(CHANNEL)
