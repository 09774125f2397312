"""Contacts: the endpoint of res_pjsip, or the peer of chan_sip, at which a user can be reached."""

import uuid
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.structs import asdict

from schemas.contacts import ContactChanged, ContactCreated, ContactDeleted, Kind
from services.accounts.accounts import MODELS as ACCOUNT_MODELS
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.commands.pbx import require_known_pbx
from services.commands.users import require_user
from services.runtime.errors import NotFound

MODELS = (*ACCOUNT_MODELS, "contacts")
CONTACT = "SELECT uuid, user_uuid, kind, target, at_pbx, name, detail FROM contacts WHERE uuid = $1"


class NewContact(Struct, frozen=True):
    """A contact to create. An empty ``at_pbx`` is every PBX that has the target."""

    user_uuid: str
    kind: Kind
    target: str
    at_pbx: str = ""
    name: str = ""
    detail: str = ""


class ContactChange(Struct, frozen=True):
    """Changes of a contact; None leaves a value."""

    user_uuid: str | None = None
    kind: Kind | None = None
    target: str | None = None
    at_pbx: str | None = None
    name: str | None = None
    detail: str | None = None


async def create_contact(context: CommandContext, request: RequestContext, new: NewContact, collection: str) -> Outcome:
    """Create a contact, located below the path ``collection``."""
    contact_uuid = str(uuid.uuid4())

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        await require_user(connection, new.user_uuid)
        await require_known_pbx(connection, new.at_pbx)
        created = ContactCreated(contact_uuid, **asdict(new))
        return Decision([created], location=f"{collection}/{contact_uuid}")

    return await decide(context, request, MODELS, decision)


async def change_contact(
    context: CommandContext, request: RequestContext, contact_uuid: str, change: ContactChange
) -> Outcome:
    """Change a contact, or give it to another user."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        row = await _require_contact(connection, contact_uuid)
        if change.user_uuid is not None:
            await require_user(connection, change.user_uuid)
        await require_known_pbx(connection, change.at_pbx or "")
        new: dict[str, Any] = {
            name: value for name, value in asdict(change).items() if value is not None and value != row[name]
        }
        return Decision([ContactChanged(contact_uuid, **new)] if new else [])

    return await decide(context, request, MODELS, decision)


async def delete_contact(context: CommandContext, request: RequestContext, contact_uuid: str) -> Outcome:
    """Delete a contact."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        await _require_contact(connection, contact_uuid)
        return Decision([ContactDeleted(contact_uuid)])

    return await decide(context, request, MODELS, decision)


async def _require_contact(connection: asyncpg.Connection, contact_uuid: str) -> asyncpg.Record:
    row = await connection.fetchrow(CONTACT, contact_uuid)
    if row is None:
        raise NotFound(f"not found: contact {contact_uuid}")
    return row
