"""Rows of the first lists of a recording, after its live events, equal Asterisk's lists at its end."""

from functools import cache

import pytest

from projections.endpoints.peers import PEERS
from projections.endpoints.pjsip_aors import PJSIP_AORS
from projections.endpoints.pjsip_contacts import PJSIP_CONTACTS
from projections.endpoints.pjsip_endpoints import PJSIP_ENDPOINTS
from projections.endpoints.pjsip_registrations import PJSIP_REGISTRATIONS
from projections.endpoints.registries import REGISTRIES
from projections.engine.model import Key, ReadModel
from tests.captures import wire
from tests.support.folding import FoldSpec

COMPARISONS = [
    (PJSIP_ENDPOINTS, (b"EndpointList",), b"EndpointListComplete", ("device_state", "transport", "auth")),
    (PJSIP_AORS, (b"AorList",), b"AorListComplete", ("contacts", "total_contacts")),
    (PJSIP_CONTACTS, (b"ContactList",), b"ContactListComplete", ("id", "status", "endpoint_name")),
    (
        PJSIP_REGISTRATIONS,
        (b"OutboundRegistrationDetail",),
        b"OutboundRegistrationDetailComplete",
        ("status", "expiration"),
    ),
    # The address is left out: the contact of 118 expires while rich22 is being listed.
    (PEERS, (b"EndpointList",), b"EndpointListComplete", ("status", "chan_object_type")),
    (PEERS, (b"PeerEntry",), b"PeerlistComplete", ("status", "address")),
    (REGISTRIES, (b"OutboundRegistrationDetail",), b"OutboundRegistrationDetailComplete", ("state", "port")),
]

NAMES = [f"{model.name}-{items[0].decode()}" for model, items, _, _ in COMPARISONS]


@cache
def blocks(recording: str) -> list[tuple[bytes, bytes]]:
    """Return the events by name, with the answer to an empty list of contacts as its end.

    IAXpeers' list is left out: its items have no ActionID (IAXpeerlist's have).
    """
    named_events = []
    for block in wire(recording).split(b"\r\n\r\n"):
        event = block.lstrip() + b"\r\n\r\n"
        if event.startswith(b"Event: ") and not (event.startswith(b"Event: PeerEntry") and b"ActionID" not in event):
            named_events.append((event[7 : event.find(b"\r\n")], event))
        elif b"Message: No Contacts found" in event:
            named_events.append((b"ContactListComplete", b"Event: None\r\n\r\n"))
    return named_events


@pytest.mark.parametrize("recording", ["rich22", "rich16"])
@pytest.mark.parametrize(("model", "items", "end", "columns"), COMPARISONS, ids=NAMES)
def test_live_events_lead_to_asterisks_last_list(
    model: ReadModel, items: tuple[bytes, ...], end: bytes, columns: tuple[str, ...], recording: str
) -> None:
    def values(events_to_fold: list[bytes]) -> dict[Key, list[str]]:
        rows = FoldSpec(model).when(events_to_fold).then()
        rows_of_list = {key: row for key, row in rows.items() if model is not PEERS or is_listed(key)}
        return {key: [getattr(row, column) for column in columns] for key, row in rows_of_list.items()}

    def is_listed(key: Key) -> bool:
        return str(key[0]).startswith("PJSIP/") == (items == (b"EndpointList",))

    named_events = blocks(recording)
    middle = len(named_events) // 2
    complete = max(i for i, (name, _) in enumerate(named_events) if name == end)
    last = [event for name, event in named_events[middle:complete] if name in items]
    events_to_fold = [
        event for i, (name, event) in enumerate(named_events[:complete]) if i < middle or name not in items
    ]
    assert values(events_to_fold) == values(last)
