"""Peers of the channel drivers, as in `sip show peers` and `iax2 show peers`, and every PJSIP endpoint."""

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.pjsip import ContactStatus, EndpointListed
from schemas.ami.sip import PeerEntry, PeerStatus

NOWHERE = {"", "-none-", "(null)"}
# The first word of a PeerEntry's status ("OK (22 ms)"), and the same status in PeerStatus.
MONITORED = {"OK": "Reachable", "UNREACHABLE": "Unreachable", "LAGGED": "Lagged"}
# The device states that chan_pjsip reports while there is no channel.
IDLE = {"Not in use": "Reachable", "Unavailable": "Unreachable"}
HOST = re.compile(r"sips?:(?:[^@]*@)?(?P<host>\[[^]]*\](?::\d+)?|[^;?>]*)")


class Peer(Row):
    """One peer, ``technology/name``. ``status`` as in PeerStatus, ``monitor_status`` as in PeerEntry ("OK (22 ms)").

    PJSIP has no monitor status of its own; its ``address`` holds those of all contacts, once each, separated by commas.
    """

    peer: str
    status: str = ""
    address: str = ""
    monitor_status: str = ""
    channel_type: str = ""
    chan_object_type: str = ""
    dynamic: str = ""
    auto_comedia: str = ""
    auto_force_port: str = ""
    acl: str = ""
    comedia: str = ""
    description: str = ""
    force_port: str = ""
    realtime_device: str = ""
    text_support: str = ""
    video_support: str = ""


class Contacts(Struct, frozen=True, gc=False):
    """An event, with the contact URIs of each listed endpoint.

    The folds change ``uris``: a list item that is too old for the row is too old for them as well.
    """

    event: Any
    uris: dict[str, list[str]]


def technology(e: PeerEntry) -> str:
    return "IAX2" if e.channel_type == "IAX" else e.channel_type


def by_entry(e: PeerEntry) -> Key | None:
    return (f"{technology(e)}/{e.object_name}",) if e.object_name else None


def by_endpoint(contacts: Contacts) -> Key | None:
    return (f"PJSIP/{contacts.event.object_name}",) if contacts.event.object_name else None


def by_contact(contacts: Contacts) -> Key | None:
    return (f"PJSIP/{contacts.event.endpoint_name}",) if contacts.event.endpoint_name else None


def by_peer(e: PeerStatus) -> Key | None:
    return (e.peer,) if "/" in e.peer else None


def apply_list_item(row: Peer | None, e: PeerEntry) -> Peer:
    port = e.ip_port or e.iax_port
    address = "" if e.ip in NOWHERE else f"{e.ip}:{port}"
    status = MONITORED.get(e.status.partition(" ")[0])
    if e.dynamic == "yes":
        status = (status or "Registered") if address else "Unregistered"
    return replace(
        row or Peer(pbx=e.pbx, tm_update=e.at, peer=f"{technology(e)}/{e.object_name}"),
        status=status or "Unknown",
        address=address,
        monitor_status=e.status,
        channel_type=technology(e),
        chan_object_type=e.chan_object_type,
        dynamic=e.dynamic,
        auto_comedia=e.auto_comedia,
        auto_force_port=e.auto_force_port,
        acl=e.acl,
        comedia=e.comedia,
        description=e.description,
        force_port=e.force_port,
        realtime_device=e.realtime_device,
        text_support=e.text_support,
        video_support=e.video_support,
    )


def apply_endpoint(row: Peer | None, contacts: Contacts) -> Peer:
    """Create or correct a listed endpoint; its device state shows reachability only while the endpoint is idle."""
    e: EndpointListed = contacts.event
    contacts.uris[e.object_name] = uris_of(e)
    old = row or Peer(pbx=e.pbx, tm_update=e.at, peer=f"PJSIP/{e.object_name}", channel_type="PJSIP")
    status = IDLE.get(e.device_state) or old.status or ("Reachable" if e.contacts else "Unreachable")
    return replace(
        old,
        status=status,
        address=addresses_of(contacts.uris[e.object_name]),
        chan_object_type=e.object_type,
    )


def change_status(row: Peer | None, e: PeerStatus) -> Peer:
    old = row or Peer(pbx=e.pbx, tm_update=e.at, peer=e.peer, channel_type=e.channel_type)
    address = old.address
    if e.status in {"Registered", "Unregistered"}:
        address = f"{e.address}:{e.port}" if e.port and not e.address.endswith(f":{e.port}") else e.address
    return replace(old, status=e.status, address=address, monitor_status=monitor_status(old, e))


def monitor_status(old: Peer, e: PeerStatus) -> str:
    """Return the status that a PeerEntry would have after this change (``sip_peer_status`` of chan_sip)."""
    word = next((word for word, status in MONITORED.items() if status == e.status), None)
    if word is None or e.channel_type == "PJSIP":
        return old.monitor_status
    return f"{word} ({e.time} ms)" if e.time is not None and e.time >= 0 else word


def with_contacts(memory: dict[str, Any], e: ContactStatus | EndpointListed) -> Contacts:
    return Contacts(e, memory)


def change_contact(row: Peer | None, contacts: Contacts) -> Peer | None:
    """Add or remove a contact's address; several contacts may have the same one."""
    if row is None:
        return None
    e: ContactStatus = contacts.event
    if (uris := contacts.uris.get(e.endpoint_name)) is not None:
        others = [uri for uri in uris if uri != e.uri]
        contacts.uris[e.endpoint_name] = others if e.status == "Removed" else uris if e.uri in uris else [*uris, e.uri]
        return replace(row, address=addresses_of(contacts.uris[e.endpoint_name]))
    address = address_of(e.uri)
    others = [other for other in row.address.split(",") if other and other != address]
    if e.status == "Removed":
        return replace(row, address=",".join(others))
    return row if address in row.address.split(",") else replace(row, address=",".join([*others, address]))


def uris_of(e: EndpointListed) -> list[str]:
    return [contact.partition("/")[2] for contact in e.contacts.split(",") if contact]


def addresses_of(uris: list[str]) -> str:
    return ",".join(dict.fromkeys(filter(None, map(address_of, uris))))


def address_of(uri: str) -> str:
    match = HOST.match(uri)
    return match["host"] if match else ""


PEERS = ReadModel(
    name="peers",
    version=2,
    row=Peer,
    key=("peer",),
    on={
        "PeerEntry": Handler(PeerEntry, by_entry, apply_list_item),
        "EndpointList": Handler(EndpointListed, by_endpoint, apply_endpoint, context=with_contacts),
        "PeerStatus": Handler(PeerStatus, by_peer, change_status),
        "ContactStatus": Handler(ContactStatus, by_contact, change_contact, context=with_contacts),
    },
    lists={
        "SIPpeers": lambda row: row.peer.startswith("SIP/"),
        "IAXpeerlist": lambda row: row.peer.startswith("IAX2/"),
        "PJSIPShowEndpoints": lambda row: row.peer.startswith("PJSIP/"),
    },
)
