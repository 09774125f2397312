"""The PJSIP lists with registered phones: the recording has these lists only from before and after the calls.

The live events (ContactStatus) report who registers where. The shapes are those of Asterisk 22.10.1 with such a phone.
"""

import hashlib
from collections.abc import Callable

from services.playback.blocks import Headers, build_block, parse_block
from services.playback.state import PlaybackState

EXPIRES_SECONDS = 90

STATES = {
    "BUSY": "Busy",
    "INUSE": "In use",
    "INVALID": "Invalid",
    "NOT_INUSE": "Not in use",
    "ONHOLD": "On Hold",
    "RINGING": "Ringing",
    "RINGINUSE": "Ring+Inuse",
    "UNAVAILABLE": "Unavailable",
    "UNKNOWN": "Unknown",
}


def update_answer(action: str, blocks: list[bytes], state: PlaybackState, at: int) -> list[bytes]:
    """Return the recorded answer to a PJSIP action, updated by the live events until ``at``."""
    now = str(at // 1_000_000 + EXPIRES_SECONDS)
    match action:
        case "pjsipshowcontacts" if state.contacts:
            return _contacts(state, now)
        case "pjsipshowendpoint" if len(blocks) > 1:
            return _endpoint(blocks, state, now)
        case "pjsipshowendpoints" | "pjsipshowaors":
            return [_change(one, lambda headers: _with_state(headers, state)) for one in blocks]
    return blocks


def _contacts(state: PlaybackState, expires: str) -> list[bytes]:
    start = {"Response": "Success", "EventList": "start"}
    start["Message"] = "A listing of Contacts follows, presented as ContactList events"
    end = {"Event": "ContactListComplete", "EventList": "Complete", "ListItems": str(len(state.contacts))}
    items = [_list_item(contact, expires) for contact in state.contacts.values()]
    return [build_block(headers) for headers in (start, *items, end)]


def _endpoint(blocks: list[bytes], state: PlaybackState, expires: str) -> list[bytes]:
    name = parse_block(blocks[1])["ObjectName"]
    details = [build_block(_detail(one, expires)) for one in _contacts_of(state, name)]
    end = parse_block(blocks[-1])
    end["ListItems"] = str(int(end["ListItems"]) + len(details))
    changed = [_change(one, lambda headers: _with_state(headers, state)) for one in blocks[:-1]]
    return [*changed, *details, build_block(end)]


def _contacts_of(state: PlaybackState, aor: str) -> list[Headers]:
    return [contact for contact in state.contacts.values() if contact["AOR"] == aor]


def _change(block: bytes, change: Callable[[Headers], Headers]) -> bytes:
    return build_block(change(parse_block(block))) if block.startswith(b"Event: ") else block


def _with_state(headers: Headers, state: PlaybackState) -> Headers:
    name = headers.get("ObjectName", "")
    contacts = _contacts_of(state, name)
    if headers["Event"] in {"EndpointList", "AorList", "AorDetail"} and contacts:
        headers["Contacts"] = ",".join(f"{contact['AOR']}/{contact['URI']}" for contact in contacts)
    if "TotalContacts" in headers and contacts:
        headers["TotalContacts"] = headers["ContactsRegistered"] = str(len(contacts))
    if "DeviceState" in headers:
        headers["DeviceState"] = STATES.get(state.devices.get(f"PJSIP/{name}", ""), headers["DeviceState"])
    if "ActiveChannels" in headers:
        prefix = f"PJSIP/{name}-"
        own = [one for one in state.channels.values() if one.get("Channel", "").startswith(prefix)]
        headers["ActiveChannels"] = str(len(own))
    return headers


def _id(contact: Headers) -> str:
    return f"{contact['AOR']};@{hashlib.md5(contact['URI'].encode(), usedforsecurity=False).hexdigest()}"


def _list_item(contact: Headers, expires: str) -> Headers:
    host, _, port = contact["URI"].rpartition("@")[2].partition(":")
    return {
        "Event": "ContactList",
        "ObjectType": "contact",
        "ObjectName": _id(contact),
        "ViaAddr": host,
        "QualifyTimeout": "3.000000",
        "Qualify2xxOnly": "false",
        "CallId": _id(contact)[-12:],
        "RegServer": "",
        "PruneOnBoot": "no",
        "Path": "",
        "Endpoint": contact["EndpointName"],
        "ViaPort": port,
        "AuthenticateQualify": "no",
        "Uri": contact["URI"],
        "QualifyFrequency": "20",
        "UserAgent": "labphone",
        "ExpirationTime": expires,
        "OutboundProxy": "",
        "Status": contact["ContactStatus"],
        "RoundtripUsec": contact["RoundtripUsec"],
    }


def _detail(contact: Headers, expires: str) -> Headers:
    return {
        "Event": "ContactStatusDetail",
        "AOR": contact["AOR"],
        "URI": contact["URI"],
        "UserAgent": "labphone",
        "RegExpire": expires,
        "ViaAddress": contact["URI"].rpartition("@")[2],
        "CallID": _id(contact)[-12:],
        "Status": contact["ContactStatus"],
        "RoundtripUsec": contact["RoundtripUsec"],
        "EndpointName": contact["EndpointName"],
        "ID": _id(contact),
        "AuthenticateQualify": "0",
        "OutboundProxy": "",
        "Path": "",
        "QualifyFrequency": "20",
        "QualifyTimeout": "3.000",
        "Qualify2xxOnly": "0",
    }
