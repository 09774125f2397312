"""PJSIP contacts, registered and configured, as in `pjsip show contacts`.

Live events name a contact by AOR and URI, so these are the key; Asterisk's id is made of both.
"""

from hashlib import md5

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.pjsip import Aor, ContactDetail, ContactListed, ContactStatus


class Contact(Row):
    """One contact. ``reg_expire`` is seconds since the epoch, ``via_address`` ip:port, ``round_trip_usec`` may be N/A.

    ``authentication_qualify`` is 0 or 1, ``qualify_timeout`` and ``qualify_frequency`` are seconds. Asterisk sends
    events for a changed status only: later round trips and a refreshed expiry come with the next list.
    """

    aor: str
    uri: str
    id: str = ""
    call_id: str = ""
    endpoint_name: str = ""
    status: str = ""
    qualify_frequency: int = 0
    qualify_timeout: float = 0.0
    authentication_qualify: int = 0
    outbound_proxy: str = ""
    path: str = ""
    reg_expire: int = 0
    round_trip_usec: str = ""
    user_agent: str = ""
    via_address: str = ""


def by_status(e: ContactStatus) -> Key | None:
    return (e.aor, e.uri) if e.aor and e.uri else None


def by_detail(e: ContactDetail) -> Key | None:
    return (e.aor, e.uri) if e.aor and e.uri else None


def by_id(e: ContactListed) -> Key | None:
    aor, separator, _ = e.id.rpartition(";@")
    return (aor, e.uri) if separator and e.uri else None


def parse_contact(e: Aor) -> list[Key]:
    return [(e.object_name, uri) for uri in e.uris()]


def is_configured(row: Contact) -> bool:
    """Return whether the contact is configured (its id is ``aor@@hash``) and not registered (``aor;@hash``)."""
    return row.id.startswith(f"{row.aor}@@")


def change(row: Contact | None, e: ContactStatus) -> Contact | None:
    if e.status == "Removed":
        return None
    if row is None:
        digest = md5(e.uri.encode(), usedforsecurity=False).hexdigest()
        row = Contact(pbx=e.pbx, tm_update=e.at, aor=e.aor, uri=e.uri, id=f"{e.aor};@{digest}")
    return replace(row, status=e.status, endpoint_name=e.endpoint_name, round_trip_usec=e.round_trip_usec)


def apply_list_item(row: Contact | None, e: ContactListed) -> Contact:
    aor, _, _ = e.id.rpartition(";@")
    return replace(
        row or Contact(pbx=e.pbx, tm_update=e.at, aor=aor, uri=e.uri),
        id=e.id,
        call_id=e.call_id,
        endpoint_name=e.endpoint_name,
        status=e.status,
        qualify_frequency=e.qualify_frequency,
        qualify_timeout=e.qualify_timeout,
        authentication_qualify=int(e.authenticate_qualify == "yes"),
        outbound_proxy=e.outbound_proxy,
        path=e.path,
        reg_expire=e.reg_expire,
        round_trip_usec=e.round_trip_usec,
        user_agent=e.user_agent,
        via_address=f"{e.via_address}:{e.via_port}" if e.via_port else e.via_address,
    )


def apply_detail(row: Contact | None, e: ContactDetail) -> Contact:
    return replace(
        row or Contact(pbx=e.pbx, tm_update=e.at, aor=e.aor, uri=e.uri),
        id=e.id,
        call_id=e.call_id,
        endpoint_name=e.endpoint_name,
        status=e.status,
        qualify_frequency=e.qualify_frequency,
        qualify_timeout=e.qualify_timeout,
        authentication_qualify=e.authentication_qualify,
        outbound_proxy=e.outbound_proxy,
        path=e.path,
        reg_expire=e.reg_expire,
        round_trip_usec=e.round_trip_usec,
        user_agent=e.user_agent,
        via_address=e.via_address,
    )


def keep_others(row: Contact | None, _e: Aor) -> Contact | None:
    """Keep the row: an AOR names its contacts, configured ones too, which protects them from the sweep."""
    return row


PJSIP_CONTACTS = ReadModel(
    name="pjsip_contacts",
    version=1,
    row=Contact,
    key=("aor", "uri"),
    on={
        "ContactStatus": Handler(ContactStatus, by_status, change, deletes_unseen=True),
        "ContactList": Handler(ContactListed, by_id, apply_list_item),
        "ContactStatusDetail": Handler(ContactDetail, by_detail, apply_detail),
        "AorList": Handler(Aor, parse_contact, keep_others),
    },
    lists={"PJSIPShowContacts": lambda row: not is_configured(row), "PJSIPShowAors": is_configured},
)
