"""PJSIP addresses of record, as in `pjsip show aors`."""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.pjsip import Aor, ContactStatus


class AorRow(Row):
    """One AOR; ``contacts`` is ``aor/uri,aor/uri`` as Asterisk writes it; expirations are seconds, flags true/false.

    ``endpoint_name`` comes with AorDetail, and so does which of the contacts are configured and not registered.
    """

    object_name: str
    object_type: str = "aor"
    endpoint_name: str = ""
    contacts: str = ""
    contacts_registered: int = 0
    total_contacts: int = 0
    authenticate_qualify: str = ""
    default_expiration: int = 0
    mailboxes: str = ""
    max_contacts: int = 0
    maximum_expiration: int = 0
    minimum_expiration: int = 0
    outbound_proxy: str = ""
    qualify_frequency: int = 0
    qualify_timeout: float = 0.0
    remove_existing: str = ""
    support_path: str = ""
    voicemail_extension: str = ""


def by_name(e: Any) -> Key | None:
    return (e.object_name,) if e.object_name else None


def by_aor(e: ContactStatus) -> Key | None:
    return (e.aor,) if e.aor else None


def apply_list_item(row: AorRow | None, e: Aor) -> AorRow:
    old = row or AorRow(pbx=e.pbx, tm_update=e.at, object_name=e.object_name)
    total = len(e.uris()) if e.total_contacts is None else e.total_contacts
    configured = old.total_contacts - old.contacts_registered
    return replace(
        old,
        object_type=e.object_type,
        endpoint_name=old.endpoint_name if e.endpoint_name is None else e.endpoint_name,
        contacts=e.contacts,
        total_contacts=total,
        contacts_registered=max(0, total - configured) if e.contacts_registered is None else e.contacts_registered,
        authenticate_qualify=e.authenticate_qualify,
        default_expiration=e.default_expiration,
        mailboxes=e.mailboxes,
        max_contacts=e.max_contacts,
        maximum_expiration=e.maximum_expiration,
        minimum_expiration=e.minimum_expiration,
        outbound_proxy=e.outbound_proxy,
        qualify_frequency=e.qualify_frequency,
        qualify_timeout=e.qualify_timeout,
        remove_existing=e.remove_existing,
        support_path=e.support_path,
        voicemail_extension=e.voicemail_extension,
    )


def change_contact(row: AorRow | None, e: ContactStatus) -> AorRow | None:
    """Add or remove a contact; the status of a present contact is not part of the AOR."""
    if row is None:
        return None
    separator = f",{row.object_name}/"
    uris = f",{row.contacts}".split(separator)[1:] if row.contacts else []
    if (e.uri in uris) == (e.status != "Removed"):
        return row
    uris = [uri for uri in uris if uri != e.uri] if e.status == "Removed" else [*uris, e.uri]
    change = len(uris) - row.total_contacts
    return replace(
        row,
        contacts="".join(f"{separator}{uri}" for uri in uris)[1:],
        total_contacts=len(uris),
        contacts_registered=max(0, row.contacts_registered + change),
    )


PJSIP_AORS = ReadModel(
    name="pjsip_aors",
    version=1,
    row=AorRow,
    key=("object_name",),
    on={
        "AorList": Handler(Aor, by_name, apply_list_item),
        "AorDetail": Handler(Aor, by_name, apply_list_item),
        "ContactStatus": Handler(ContactStatus, by_aor, change_contact),
    },
    lists={"PJSIPShowAors": None},
)
