"""/admin/user/users and /manager/users (seed 001:3669-3783, 3829-3964): who may log in.

Who has no permission admin may neither give it, nor change or delete a user who has it. At least one has it always.
"""

import uuid
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import Meta, Struct, field

from api.app_keys import ACCOUNTS
from api.http.auth import USER, recheck_permission, token_of
from api.http.body import read_body
from api.http.errors import ApiError
from api.http.views import Args, storable_text
from api.jade.resource import Resource
from api.jade.writes import answer
from schemas.facts import Fact
from schemas.secrets import MASK
from schemas.users import (
    PasswordChanged,
    Permission,
    PermissionGranted,
    PermissionRevoked,
    TokenRevoked,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from services.accounts.accounts import MODELS, User, token_hash
from services.commands.decide import Decision, decide

Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
# HTTP Basic ends the user name at the first colon.
Username = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f:]+\Z")]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]

USERS_SQL = f"""
SELECT uuid, username, name, '{MASK}' AS password, tm_create, tm_update
FROM users
WHERE $1::text IS NULL AND ($2::text IS NULL OR uuid = $2)
ORDER BY tm_create, uuid
"""

# Here tm_update is null until a user is changed (seed 001:3873).
MANAGED_SQL = f"""
SELECT uuid, username, name, '{MASK}' AS password, context, tm_create, nullif(tm_update, tm_create) AS tm_update,
       ARRAY(SELECT jsonb_object_keys(permissions) ORDER BY 1) AS permissions
FROM users
WHERE $1::text IS NULL AND ($2::text IS NULL OR uuid = $2)
ORDER BY tm_create, uuid
"""

USER_SQL = "SELECT uuid, username, name, context, permissions FROM users WHERE uuid = $1"
NAMED = "SELECT uuid FROM users WHERE username = $1"
OTHER_ADMIN = "SELECT uuid FROM users WHERE permissions ? 'admin' AND uuid <> $1 LIMIT 1"
TOKENS = "SELECT token_hash FROM tokens WHERE user_uuid = $1 ORDER BY issued"


class Granted(Struct, frozen=True):
    """One of ``permissions`` in a body."""

    permission: Permission


class NewUser(Struct, frozen=True):
    """Body of a POST."""

    username: Username
    password: Password
    name: Text = ""
    context: Text = ""
    permissions: list[Granted] = field(default_factory=list)


class Change(Struct, frozen=True):
    """Body of a PUT; what is absent or null stays as it is. ``permissions`` are all that the user has from then on."""

    username: Username | None = None
    password: Password | None = None
    name: Text | None = None
    context: Text | None = None
    permissions: list[Granted] | None = None


def everybody(_request: web.Request) -> Args:
    """Ask for all: people belong to no PBX."""
    return (None, None)


def somebody(request: web.Request) -> Args:
    """Ask for what has the uuid at the end of the path."""
    return (None, storable_text(request.match_info["detail"]))


def managed(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "permissions": [{"permission": name} for name in row["permissions"]]}


async def create(request: web.Request) -> web.Response:
    new = await read_body(request, NewUser)
    if new.password == MASK:
        raise ApiError(400, f"{MASK} is what is shown instead of a password")
    hashed = await request.app[ACCOUNTS].hashed(new.password, request[USER])
    user_uuid = str(uuid.uuid4())
    permissions = tuple(sorted({granted.permission for granted in new.permissions}))

    async def decision(connection: asyncpg.Connection) -> Decision:
        guard(recheck_permission(request), permissions)
        await free(connection, new.username)
        created = UserCreated(user_uuid, new.username, new.name, hashed, permissions, "user", new.context)
        return Decision([created], location=f"{request.path}/{user_uuid}")

    return answer(await decide(request, MODELS, decision))


async def update(request: web.Request) -> web.Response:
    return await change(request, request.match_info["detail"])


async def change(request: web.Request, user_uuid: str) -> web.Response:
    """Change a user as the body wants it; a new password ends the user's tokens, but not the one that asks."""
    wanted = await read_body(request, Change)
    hashed = ""
    if wanted.password is not None and wanted.password != MASK:
        hashed = await request.app[ACCOUNTS].hashed(wanted.password, request[USER])

    async def decision(connection: asyncpg.Connection) -> Decision:
        asker, row = recheck_permission(request), await the_user(connection, user_uuid)
        facts = [*changed(row, wanted), *permitted(row, wanted)]
        guard(asker, {*row["permissions"], *(g.permission for g in wanted.permissions or ())})
        if wanted.username is not None and wanted.username != row["username"]:
            await free(connection, wanted.username)
        if any(isinstance(fact, PermissionRevoked) and fact.permission == "admin" for fact in facts):
            await other_admin(connection, user_uuid)
        if hashed:
            facts.append(PasswordChanged(user_uuid, hashed, "user"))
            kept = token_hash(token_of(request) or "")
            facts += [
                TokenRevoked(token, "password changed")
                for (token,) in await connection.fetch(TOKENS, user_uuid)
                if token != kept
            ]
        return Decision(facts)

    return answer(await decide(request, MODELS, decision))


async def delete(request: web.Request) -> web.Response:
    user_uuid = request.match_info["detail"]

    async def decision(connection: asyncpg.Connection) -> Decision:
        asker, row = recheck_permission(request), await the_user(connection, user_uuid)
        guard(asker, row["permissions"])
        if "admin" in row["permissions"]:
            await other_admin(connection, user_uuid)
        tokens = [TokenRevoked(token, "user deleted") for (token,) in await connection.fetch(TOKENS, user_uuid)]
        return Decision([UserDeleted(user_uuid), *tokens])

    return answer(await decide(request, (*MODELS, "contacts"), decision))


def changed(row: asyncpg.Record, wanted: Change) -> list[Fact]:
    """Return what is new of the user's own members."""
    new = {
        name: value
        for name in ("username", "name", "context")
        if (value := getattr(wanted, name)) is not None and value != row[name]
    }
    return [UserChanged(row["uuid"], **new)] if new else []


def permitted(row: asyncpg.Record, wanted: Change) -> list[Fact]:
    """Return what the user may from now on, and may no more."""
    if wanted.permissions is None:
        return []
    before, after = row["permissions"], {granted.permission for granted in wanted.permissions}
    return [
        *(PermissionRevoked(before[name], row["uuid"], name) for name in sorted(before.keys() - after)),
        *(PermissionGranted(str(uuid.uuid4()), row["uuid"], name) for name in sorted(after - before.keys())),
    ]


async def the_user(connection: asyncpg.Connection, user_uuid: str) -> asyncpg.Record:
    """Return the user. Raises ApiError 404."""
    row = await connection.fetchrow(USER_SQL, storable_text(user_uuid))
    if row is None:
        raise ApiError(404, "no such user")
    return row


def guard(asker: User, permissions: Any) -> None:
    """Let only who has admin do with it, or with who has it. Raises ApiError 403."""
    if "admin" in permissions and not asker.may("admin"):
        raise ApiError(403, "permission admin is needed to give admin, or to change who has it", "access-denied")


async def free(connection: asyncpg.Connection, username: str) -> None:
    """Raise ApiError 409 if somebody has this user name."""
    if await connection.fetchval(NAMED, username) is not None:
        raise ApiError(409, "this user name is taken")


async def other_admin(connection: asyncpg.Connection, user_uuid: str) -> None:
    """Raise ApiError 409 if nobody else has the permission admin."""
    if await connection.fetchval(OTHER_ADMIN, user_uuid) is None:
        raise ApiError(409, "this is the last user with permission admin")


USERS = Resource("users", USERS_SQL, ("users",), all_by=everybody, one_by=somebody)
MANAGED = Resource("managed", MANAGED_SQL, ("users",), managed, all_by=everybody, one_by=somebody)
