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


class Feed(Struct, frozen=True):
    """Messages of one ``model``: ``name`` is area and kind, topics are ``path`` and then the row's ``segments``."""

    name: str
    path: str
    model: str
    segments: Callable[[Any], tuple[str, ...]]
    item: Item


def by(*columns: str) -> Callable[[Any], tuple[str, ...]]:
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


FEEDS = (
    Feed("agent.agent", "/agents", "agents", by("id"), agent),
    Feed("core.channel", "/core/channels", "channels", by("unique_id"), channel),
    Feed("core.module", "/core/modules", "modules", by("name"), without()),
    Feed("core.system", "/core/systems", "systems", by("id"), without()),
    Feed("device.state", "/device_states", "device_states", by("device"), without()),
    Feed("park.parkedcall", "/park/parkedcalls", "parked_calls", by("parking_lot", "parkee_unique_id"), parked),
    Feed("park.parkinglot", "/park/parkinglots", "parking_lots", by("name"), lot),
    Feed("pjsip.aor", "/pjsip/aors", "pjsip_aors", by("object_name"), without()),
    Feed("pjsip.auth", "/pjsip/auths", "pjsip_auths", by("object_name"), auth),
    Feed("pjsip.contact", "/pjsip/contacts", "pjsip_contacts", by("id"), contact),
    Feed("pjsip.endpoint", "/pjsip/endpoints", "pjsip_endpoints", by("object_name"), pjsip_endpoint),
    Feed(
        "pjsip.registration_outbound",
        "/pjsip/registration_outbounds",
        "pjsip_registrations",
        by("object_name"),
        without(),
    ),
    Feed("queue.entry", "/queue/entries", "queue_entries", by("queue_name", "unique_id"), entry),
    Feed("queue.member", "/queue/members", "queue_members", by("queue_name", "name"), member),
    Feed(
        "queue.queue",
        "/queue/queues",
        "queues",
        by("name"),
        without(
            *("service_level_perf2", "completed_in_level", "abandoned_in_level", "hold_time_before"),
            *("waiting", "talking"),
        ),
    ),
    Feed("sip.peer", "/peers", "peers", by("peer"), without()),
    Feed("sip.registry", "/registries", "registries", by("account"), without("channel_type")),
)

OF_MODEL = {feed.model: feed for feed in FEEDS}
