"""What is told of each read model: the name of its messages, their topic, and the resource, which is the view's object.

A resource is made of the row as the event left it, for no table holds every row between two batches. A test holds that
it is what the view serves, member by member, at every position of a recording. Durations are those at the time when
the event was recorded.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from api.jade import core
from api.jade.pjsip_endpoints import endpoint
from projections.engine.step import InStep
from schemas.secrets import MASK

SECOND = timedelta(seconds=1)

Item = Callable[[Any, datetime, InStep], dict[str, Any]]
"""Makes the resource of a row, when the event was recorded, and what all models hold then."""


class StreamResource(Struct, frozen=True):
    """Messages of one ``model``: ``name`` is area and kind, topics are ``path`` and then the row's ``segments``."""

    name: str
    path: str
    model: str
    segments: Callable[[Any], tuple[str, ...]]
    item: Item


def segments_of(*columns: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda row: tuple(getattr(row, column) for column in columns)


def without(*columns: str) -> Item:
    """Make the resource of all columns but those which no view shows."""

    def item(row: Any, _at: datetime, _folded: InStep) -> dict[str, Any]:
        found = asdict(row)
        for column in columns:
            del found[column]
        return found

    return item


def elapsed(since: datetime | None, at: datetime) -> int:
    """Return whole seconds, as a view that ticks."""
    return 0 if since is None else max(0, (at - since) // SECOND)


def agent(row: Any, _at: datetime, folded: InStep) -> dict[str, Any]:
    """Make the detail's object: what is known of an agent's channel is what is known of that channel."""
    up = folded.rows("channels").get((row.pbx, row.unique_id))
    item = asdict(row)
    item["logged_in_time"] = row.logged_in_time or 0
    item["unique_id"] = row.unique_id or ""
    item["channel_name"] = up.channel if up else ""
    item["channel_state"] = up.channel_state if up else 0
    for column in AGENT_TEXTS:
        item[column] = getattr(up, column) if up else ""
    if up is not None:
        item["tm_update"] = max(row.tm_update, up.tm_update)
    return item


AGENT_TEXTS = (
    *("channel_state_desc", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num"),
    *("context", "exten", "priority", "account_code", "language", "linked_id"),
)


def channel(row: Any, at: datetime, _folded: InStep) -> dict[str, Any]:
    item = asdict(row)
    item["duration"] = elapsed(item.pop("created"), at)
    return core.channel(item)


def member(row: Any, at: datetime, folded: InStep) -> dict[str, Any]:
    return {"id": f"{row.name}@{row.queue_name}", **MEMBER(row, at, folded)}


MEMBER = without("login_time", "wrapup_time", "call")


def entry(row: Any, at: datetime, folded: InStep) -> dict[str, Any]:
    """Make the object of a caller who waits: the names are its channel's, while that is there."""
    item = asdict(row)
    del item["linked_id"]
    item["wait"] = elapsed(item.pop("joined"), at)
    up = folded.rows("channels").get((row.pbx, row.unique_id))
    if up is not None:
        for column in ("channel", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num"):
            item[column] = getattr(up, column)
    return item


def parked(row: Any, at: datetime, _folded: InStep) -> dict[str, Any]:
    item = asdict(row)
    item["parking_duration"] = elapsed(item.pop("parked_at"), at)
    timeout_at = item.pop("timeout_at")
    item["parking_timeout"] = 0 if timeout_at is None else max(0, math.ceil((timeout_at - at) / SECOND))
    return item


def lot(row: Any, _at: datetime, _folded: InStep) -> dict[str, Any]:
    item = asdict(row)
    item["stop_spcae"] = item.pop("stop_space")
    return item


def auth(row: Any, _at: datetime, _folded: InStep) -> dict[str, Any]:
    return {**asdict(row), "password": row.password and MASK, "md5_cred": row.md5_cred and MASK}


def contact(row: Any, _at: datetime, _folded: InStep) -> dict[str, Any]:
    item = asdict(row)
    item["qualify_timout"] = round(item.pop("qualify_timeout"))
    return item


def pjsip_endpoint(row: Any, _at: datetime, folded: InStep) -> dict[str, Any]:
    name = f"PJSIP/{row.object_name}"
    up = sum(c.channel[:-9] == name and c.pbx == row.pbx for c in folded.rows("channels").values())
    return endpoint({**asdict(row), "active_channels": str(up)})


RESOURCES = (
    StreamResource("agent.agent", "/agents", "agents", segments_of("id"), agent),
    StreamResource("core.channel", "/core/channels", "channels", segments_of("unique_id"), channel),
    StreamResource("core.module", "/core/modules", "modules", segments_of("name"), without()),
    StreamResource("core.system", "/core/systems", "systems", segments_of("id"), without()),
    StreamResource("device.state", "/device_states", "device_states", segments_of("device"), without()),
    StreamResource(
        "park.parkedcall", "/park/parkedcalls", "parked_calls", segments_of("parking_lot", "parkee_unique_id"), parked
    ),
    StreamResource("park.parkinglot", "/park/parkinglots", "parking_lots", segments_of("name"), lot),
    StreamResource("pjsip.aor", "/pjsip/aors", "pjsip_aors", segments_of("object_name"), without()),
    StreamResource("pjsip.auth", "/pjsip/auths", "pjsip_auths", segments_of("object_name"), auth),
    StreamResource("pjsip.contact", "/pjsip/contacts", "pjsip_contacts", segments_of("id"), contact),
    StreamResource("pjsip.endpoint", "/pjsip/endpoints", "pjsip_endpoints", segments_of("object_name"), pjsip_endpoint),
    StreamResource(
        "pjsip.registration_outbound",
        "/pjsip/registration_outbounds",
        "pjsip_registrations",
        segments_of("object_name"),
        without(),
    ),
    StreamResource("queue.entry", "/queue/entries", "queue_entries", segments_of("queue_name", "unique_id"), entry),
    StreamResource("queue.member", "/queue/members", "queue_members", segments_of("queue_name", "name"), member),
    StreamResource(
        "queue.queue",
        "/queue/queues",
        "queues",
        segments_of("name"),
        without(
            *("service_level_perf2", "completed_in_level", "abandoned_in_level", "hold_time_before"),
            *("waiting", "talking"),
        ),
    ),
    StreamResource("sip.peer", "/peers", "peers", segments_of("peer"), without()),
    StreamResource("sip.registry", "/registries", "registries", segments_of("account"), without("channel_type")),
)

OF_MODEL = {feed.model: feed for feed in RESOURCES}
