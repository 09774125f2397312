"""Contacts: the endpoints of PBXs at which a user is reached. The view joins the endpoint's state."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.contacts import ContactEvent
from schemas.users import UserChange


class Contact(Row):
    """One contact; ``kind`` is pjsip_endpoint or sip_peer, ``at_pbx`` empty: the first PBX by name that has the target.

    ``pbx`` is empty: contacts belong to Ringledger.
    """

    uuid: str
    user_uuid: str
    kind: str
    target: str
    at_pbx: str
    name: str
    detail: str
    tm_create: datetime


def by_uuid(e: ContactEvent) -> Key | None:
    # Only Ringledger's own events have no pbx: an event of this name from a PBX creates no contact.
    return (e.uuid,) if not e.pbx else None


def by_user(e: UserChange) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def create(row: Contact | None, e: ContactEvent) -> Contact:
    return row or Contact(
        pbx="",
        tm_update=e.at,
        uuid=e.uuid,
        user_uuid=e.user_uuid or "",
        kind=e.kind or "",
        target=e.target or "",
        at_pbx=e.at_pbx or "",
        name=e.name or "",
        detail=e.detail or "",
        tm_create=e.at,
    )


def change(row: Contact | None, e: ContactEvent) -> Contact | None:
    if row is None:
        return None
    return replace(
        row,
        user_uuid=row.user_uuid if e.user_uuid is None else e.user_uuid,
        kind=row.kind if e.kind is None else e.kind,
        target=row.target if e.target is None else e.target,
        at_pbx=row.at_pbx if e.at_pbx is None else e.at_pbx,
        name=row.name if e.name is None else e.name,
        detail=row.detail if e.detail is None else e.detail,
    )


def delete(_row: Contact | None, _e: ContactEvent | UserChange) -> None:
    return None


CONTACTS = ReadModel(
    name="contacts",
    version=1,
    row=Contact,
    key=("uuid",),
    on={
        "ContactCreated": Handler(ContactEvent, by_uuid, create),
        "ContactChanged": Handler(ContactEvent, by_uuid, change),
        "ContactDeleted": Handler(ContactEvent, by_uuid, delete, deletes_unseen=True),
        "UserDeleted": Handler(UserChange, by_user, delete, match_column="user_uuid"),
    },
)
