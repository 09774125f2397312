"""What the PJSIP lists would say of registered phones: the recording asked for them only before and after the calls.

The live events (ContactStatus) tell who registers where; the shapes are those of Asterisk 22.10.1 with such a phone.
"""

import hashlib
from collections.abc import Callable

from services.playback.state import Headers, State, block, headers

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


def current(action: str, blocks: list[bytes], state: State, at: int) -> list[bytes]:
    """Return the recorded answer to a PJSIP action with what the live events said until ``at`` worked in."""
    now = str(at // 1_000_000 + EXPIRES_SECONDS)
    match action:
        case "pjsipshowcontacts" if state.contacts:
            return _contacts(state, now)
        case "pjsipshowendpoint" if len(blocks) > 1:
            return _endpoint(blocks, state, now)
        case "pjsipshowendpoints" | "pjsipshowaors":
            return [_change(one, lambda said: _with_state(said, state)) for one in blocks]
    return blocks


def _contacts(state: State, expires: str) -> list[bytes]:
    start = {"Response": "Success", "EventList": "start"}
    start["Message"] = "A listing of Contacts follows, presented as ContactList events"
    end = {"Event": "ContactListComplete", "EventList": "Complete", "ListItems": str(len(state.contacts))}
    return [block(start), *(block(_listed(one, expires)) for one in state.contacts.values()), block(end)]


def _endpoint(blocks: list[bytes], state: State, expires: str) -> list[bytes]:
    name = headers(blocks[1])["ObjectName"]
    details = [block(_detail(one, expires)) for one in _of(state, name)]
    end = headers(blocks[-1])
    end["ListItems"] = str(int(end["ListItems"]) + len(details))
    changed = [_change(one, lambda said: _with_state(said, state)) for one in blocks[:-1]]
    return [*changed, *details, block(end)]


def _of(state: State, aor: str) -> list[Headers]:
    return [contact for contact in state.contacts.values() if contact["AOR"] == aor]


def _change(said: bytes, change: Callable[[Headers], Headers]) -> bytes:
    return block(change(headers(said))) if said.startswith(b"Event: ") else said


def _with_state(said: Headers, state: State) -> Headers:
    name = said.get("ObjectName", "")
    contacts = _of(state, name)
    if said["Event"] in {"EndpointList", "AorList", "AorDetail"} and contacts:
        said["Contacts"] = ",".join(f"{contact['AOR']}/{contact['URI']}" for contact in contacts)
    if "TotalContacts" in said and contacts:
        said["TotalContacts"] = said["ContactsRegistered"] = str(len(contacts))
    if "DeviceState" in said:
        said["DeviceState"] = STATES.get(state.devices.get(f"PJSIP/{name}", ""), said["DeviceState"])
    if "ActiveChannels" in said:
        named = f"PJSIP/{name}-"
        said["ActiveChannels"] = str(sum(one.get("Channel", "").startswith(named) for one in state.channels.values()))
    return said


def _id(contact: Headers) -> str:
    return f"{contact['AOR']};@{hashlib.md5(contact['URI'].encode(), usedforsecurity=False).hexdigest()}"


def _listed(contact: Headers, expires: str) -> Headers:
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
