"""Contacts: /admin/user/contacts (seed 001:3785-3787, headed only) and /me/contacts (seed 001:4012-4050).

A contact is the endpoint of res_pjsip, or the peer of chan_sip, at which a user can be reached. ``info`` is a join: it
shows the endpoint as it is now, and is empty while no PBX has it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import Meta, Struct

from api.http.auth import USER
from api.http.body import Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import Args, storable_text
from api.jade.pjsip_endpoints import endpoint
from api.jade.resource import Resource, detail, everything
from api.jade.users import Text
from api.jade.writes import write_response
from schemas.contacts import Kind
from schemas.secrets import MASK
from services.commands.contacts import ContactChange, NewContact, change_contact, create_contact, delete_contact

# A name without the characters that are syntax in a dial string (& , ( / @ ^ and the like).
Target = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[\w.+-]+\Z")]

SQL = """
SELECT DISTINCT ON (c.tm_create, c.uuid)
       c.uuid, c.user_uuid, c.kind AS type, c.target, c.name, c.detail, c.tm_create, c.tm_update,
       coalesce(e.pbx, p.pbx, c.at_pbx) AS pbx, to_jsonb(e) AS endpoint, to_jsonb(p) AS peer,
       coalesce(up.up, 0)::text AS active_channels, a.username, a.realm, l.address
FROM contacts c
LEFT JOIN pjsip_endpoints e
       ON c.kind = 'pjsip_endpoint' AND e.object_name = c.target AND (c.at_pbx = '' OR e.pbx = c.at_pbx)
LEFT JOIN pjsip_auths a ON a.pbx = e.pbx AND a.object_name = split_part(e.auth, ',', 1)
LEFT JOIN peers p ON c.kind = 'sip_peer' AND p.peer = 'SIP/' || c.target AND (c.at_pbx = '' OR p.pbx = c.at_pbx)
LEFT JOIN links l ON l.pbx = coalesce(e.pbx, p.pbx)
LEFT JOIN (
    -- A channel's name is its endpoint's, a hyphen and eight hexadecimal digits.
    SELECT pbx, left(channel, -9) AS endpoint, count(*) AS up FROM channels WHERE channel LIKE 'PJSIP/%' GROUP BY 1, 2
) up ON up.pbx = e.pbx AND up.endpoint = 'PJSIP/' || e.object_name
WHERE ($1::text IS NULL OR c.uuid = $1) AND ($2::text IS NULL OR c.user_uuid = $2)
ORDER BY c.tm_create, c.uuid, coalesce(e.pbx, p.pbx)
"""
MODELS = ("contacts", "pjsip_endpoints", "pjsip_auths", "peers", "links", "channels")


class PostBody(Struct, frozen=True):
    """Body of a POST. ``pbx`` is needed only where several PBXes have an endpoint of this name."""

    user_uuid: Uuid
    type: Kind
    target: Target
    name: Text = ""
    detail: Text = ""
    pbx: Text = ""


class PutBody(Struct, frozen=True):
    """Body of a PUT; an absent or null member stays."""

    user_uuid: Uuid | None = None
    type: Kind | None = None
    target: Target | None = None
    name: Text | None = None
    detail: Text | None = None
    pbx: Text | None = None


def contact(row: asyncpg.Record, now: datetime) -> dict[str, Any]:
    """Return the wire's object."""
    item = dict(row)
    pjsip, peer = item.pop("endpoint"), item.pop("peer")
    more = {name: item.pop(name) for name in ("active_channels", "username", "realm", "address")}
    host = (more["address"] or "").rpartition(":")[0]
    if pjsip is not None:
        info = endpoint({**_with_time(pjsip), "active_channels": more["active_channels"]}, now)
        name = pjsip["aors"].partition(",")[0] or pjsip["object_name"]
        login = more["username"] or pjsip["object_name"]
    else:
        info = _with_time(peer) if peer is not None else {}
        name = login = item["target"] if peer is not None else ""
    item["info"] = {
        **info,
        "id": login,
        "password": MASK,
        "public_url": f"sip:{name}@{host}" if name else "",
        "realm": more["realm"] or "",
    }
    return item


def _with_time(row: dict[str, Any]) -> dict[str, Any]:
    # PostgreSQL's JSON of a row formats times differently from the wire.
    return {**row, "tm_update": datetime.fromisoformat(row["tm_update"]).astimezone(UTC)}


def every_contact(request: web.Request) -> Args:
    """Return the arguments of the list of all users' contacts."""
    return (*everything(request), None)


def contact_detail(request: web.Request) -> Args:
    """Return the arguments of the detail, whose uuid ends the path."""
    return (*detail(request), None)


def own_contacts(request: web.Request) -> Args:
    """Return the arguments of the list of the caller's contacts."""
    return (None, request[USER].uuid)


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    new = NewContact(body.user_uuid.lower(), body.type, body.target, body.pbx, body.name, body.detail)
    return write_response(await create_contact(*await command_args(request), new, request.path))


async def update(request: web.Request) -> web.Response:
    body = await read_body(request, PutBody)
    user_uuid = body.user_uuid.lower() if body.user_uuid else None
    change = ContactChange(user_uuid, body.type, body.target, body.pbx, body.name, body.detail)
    contact_uuid = storable_text(request.match_info["detail"])
    return write_response(await change_contact(*await command_args(request), contact_uuid, change))


async def delete(request: web.Request) -> web.Response:
    contact_uuid = storable_text(request.match_info["detail"])
    return write_response(await delete_contact(*await command_args(request), contact_uuid))


CONTACTS = Resource("user_contacts", SQL, MODELS, contact, all_by=every_contact, one_by=contact_detail, pbx=None)
OWN = Resource("my_contacts", SQL, MODELS, contact, all_by=own_contacts, pbx=None)
