"""Contacts: /admin/user/contacts (seed 001:3785-3787, headed only) and /me/contacts (seed 001:4012-4050).

A contact says at which endpoint of res_pjsip, or peer of chan_sip, a user is reached. What is told of that in ``info``
is a join: it is the endpoint's own at any time, and empty while no PBX has it.
"""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import Meta, Struct

from api.http.auth import USER, recheck_permission
from api.http.body import Uuid, read_body
from api.http.errors import ApiError
from api.http.views import Args, storable_text
from api.jade.pjsip_endpoints import endpoint
from api.jade.resource import Resource
from api.jade.users import Text, everybody, somebody, the_user
from api.jade.writes import answer
from schemas.contacts import ContactChanged, ContactCreated, ContactDeleted, Kind
from schemas.secrets import MASK
from services.accounts.accounts import MODELS as PEOPLE
from services.commands.decide import Decision, decide

# What a dial string takes for something else (& , ( / @ ^ and the like) is no part of a name here.
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
WHERE $1::text IS NULL AND ($2::text IS NULL OR c.uuid = $2) AND ($3::text IS NULL OR c.user_uuid = $3)
ORDER BY c.tm_create, c.uuid, coalesce(e.pbx, p.pbx)
"""
MODELS = ("contacts", "pjsip_endpoints", "pjsip_auths", "peers", "links", "channels")

CONTACT = "SELECT uuid, user_uuid, kind, target, at_pbx, name, detail FROM contacts WHERE uuid = $1"
PBX = "SELECT pbx FROM links WHERE pbx = $1"


class NewContact(Struct, frozen=True):
    """Body of a POST. ``pbx`` is needed only where several have an endpoint of this name."""

    user_uuid: Uuid
    type: Kind
    target: Target
    name: Text = ""
    detail: Text = ""
    pbx: Text = ""


class Change(Struct, frozen=True):
    """Body of a PUT; what is absent or null stays as it is."""

    user_uuid: Uuid | None = None
    type: Kind | None = None
    target: Target | None = None
    name: Text | None = None
    detail: Text | None = None
    pbx: Text | None = None


def contact(row: asyncpg.Record) -> dict[str, Any]:
    """Make the wire's object."""
    item = dict(row)
    told, peer = item.pop("endpoint"), item.pop("peer")
    more = {name: item.pop(name) for name in ("active_channels", "username", "realm", "address")}
    host = (more["address"] or "").rpartition(":")[0]
    if told is not None:
        info = endpoint({**_timed(told), "active_channels": more["active_channels"]})
        name = told["aors"].partition(",")[0] or told["object_name"]
        id_ = more["username"] or told["object_name"]
    else:
        info = _timed(peer) if peer is not None else {}
        name = id_ = item["target"] if peer is not None else ""
    item["info"] = {
        **info,
        "id": id_,
        "password": MASK,
        "public_url": f"sip:{name}@{host}" if name else "",
        "realm": more["realm"] or "",
    }
    return item


def _timed(told: dict[str, Any]) -> dict[str, Any]:
    # A row that PostgreSQL made JSON of writes its times in another way than the wire.
    return {**told, "tm_update": datetime.fromisoformat(told["tm_update"]).astimezone(UTC)}


def all_of_them(request: web.Request) -> Args:
    """Ask for everybody's."""
    return (*everybody(request), None)


def one_of_them(request: web.Request) -> Args:
    """Ask for the one that the path names."""
    return (*somebody(request), None)


def mine(request: web.Request) -> Args:
    """Ask for those of who asks."""
    return (None, None, request[USER].uuid)


async def create(request: web.Request) -> web.Response:
    new = await read_body(request, NewContact)
    contact_uuid, user_uuid = str(uuid.uuid4()), new.user_uuid.lower()

    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        await the_user(connection, user_uuid)
        await heard(connection, new.pbx)
        created = ContactCreated(contact_uuid, user_uuid, new.type, new.target, new.pbx, new.name, new.detail)
        return Decision([created], location=f"{request.path}/{contact_uuid}")

    return answer(await decide(request, (*PEOPLE, "contacts"), decision))


async def update(request: web.Request) -> web.Response:
    wanted = await read_body(request, Change)

    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        row = await the_contact(connection, request)
        if wanted.user_uuid is not None:
            await the_user(connection, wanted.user_uuid.lower())
        await heard(connection, wanted.pbx or "")
        asked = {
            "user_uuid": wanted.user_uuid.lower() if wanted.user_uuid else None,
            "kind": wanted.type,
            "target": wanted.target,
            "at_pbx": wanted.pbx,
            "name": wanted.name,
            "detail": wanted.detail,
        }
        new: dict[str, Any] = {name: v for name, v in asked.items() if v is not None and v != row[name]}
        return Decision([ContactChanged(row["uuid"], **new)] if new else [])

    return answer(await decide(request, (*PEOPLE, "contacts"), decision))


async def delete(request: web.Request) -> web.Response:
    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        return Decision([ContactDeleted((await the_contact(connection, request))["uuid"])])

    return answer(await decide(request, (*PEOPLE, "contacts"), decision))


async def the_contact(connection: asyncpg.Connection, request: web.Request) -> asyncpg.Record:
    """Return the contact that the path names. Raises ApiError 404."""
    row = await connection.fetchrow(CONTACT, storable_text(request.match_info["detail"]))
    if row is None:
        raise ApiError(404, "no such contact")
    return row


async def heard(connection: asyncpg.Connection, pbx: str) -> None:
    """Raise ApiError 404 if a PBX of this name has never been heard."""
    if pbx and await connection.fetchval(PBX, pbx) is None:
        raise ApiError(404, "no such PBX")


CONTACTS = Resource("user_contacts", SQL, MODELS, contact, all_by=all_of_them, one_by=one_of_them)
MINE = Resource("my_contacts", SQL, MODELS, contact, all_by=mine)
