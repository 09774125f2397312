"""PJSIP endpoints: what `pjsip show endpoints` shows, with all options of `pjsip show endpoint`.

How many channels an endpoint has up is a join with channels (PJSIP/<object_name>-<8 hex digits>), in the view: the
lists' ActiveChannels is a count in Asterisk 22, empty in 16, and old the moment it is read.
"""

from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.pjsip import EndpointListed, EndpointState

# Asterisk's two spellings of a device state (devicestate.c): in DeviceStateChange, and in lists.
WORDS = {
    "UNKNOWN": "Unknown",
    "NOT_INUSE": "Not in use",
    "INUSE": "In use",
    "BUSY": "Busy",
    "INVALID": "Invalid",
    "UNAVAILABLE": "Unavailable",
    "RINGING": "Ringing",
    "RINGINUSE": "Ring+Inuse",
    "ONHOLD": "On Hold",
}
NO_OPTION = frozenset(
    {
        "Event",
        "ActionID",
        "Timestamp",
        "Privilege",
        "DeviceState",
        "ActiveChannels",
    }
)


class Endpoint(Row):
    """One endpoint. ``options`` are EndpointDetail's headers by Asterisk's names, all text, empty ones left out."""

    object_name: str
    object_type: str = "endpoint"
    device_state: str = ""
    transport: str = ""
    aors: str = ""
    auth: str = ""
    outbound_auth: str = ""
    options: dict[str, str] = field(default_factory=dict)


def by_name(e: EndpointListed) -> Key | None:
    return (e.object_name,) if e.object_name else None


def by_object(e: dict[str, Any]) -> Key | None:
    return (e["ObjectName"],) if e.get("ObjectName") else None


def by_device(e: EndpointState) -> Key | None:
    """Return the key, None for items of DeviceStateList, which still has the devices of deleted endpoints."""
    return (e.device.removeprefix("PJSIP/"),) if e.device.startswith("PJSIP/") and not e.action_id else None


def apply_list_item(row: Endpoint | None, e: EndpointListed) -> Endpoint:
    return replace(
        row or Endpoint(pbx=e.pbx, tm_update=e.at, object_name=e.object_name),
        object_type=e.object_type,
        device_state=e.device_state,
        transport=e.transport,
        aors=e.aors,
        auth=e.auth,
        outbound_auth=e.outbound_auth,
    )


def apply_detail(row: Endpoint | None, e: dict[str, Any]) -> Endpoint:
    return replace(
        row or Endpoint(pbx=e["_pbx"], tm_update=e["_at"], object_name=e["ObjectName"]),
        object_type=e.get("ObjectType", ""),
        device_state=e.get("DeviceState", ""),
        transport=e.get("Transport", ""),
        aors=e.get("Aors", ""),
        auth=e.get("Auth", ""),
        outbound_auth=e.get("OutboundAuth", ""),
        options={name: value for name, value in e.items() if name not in NO_OPTION and not name.startswith("_")},
    )


def change_state(row: Endpoint | None, e: EndpointState) -> Endpoint | None:
    return replace(row, device_state=WORDS.get(e.state, e.state)) if row else None


PJSIP_ENDPOINTS = ReadModel(
    name="pjsip_endpoints",
    version=1,
    row=Endpoint,
    key=("object_name",),
    on={
        "EndpointList": Handler(EndpointListed, by_name, apply_list_item),
        "EndpointDetail": Handler(dict, by_object, apply_detail),
        "DeviceStateChange": Handler(EndpointState, by_device, change_state),
    },
    lists={"PJSIPShowEndpoints": None},
)
