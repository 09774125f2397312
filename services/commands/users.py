"""Users: create, change, delete.

Only a caller with the permission ``admin`` can grant ``admin`` or ``supervisor``, or change or delete a user who has
one of them. At least one user has ``admin`` at all times.
"""

import uuid
from collections.abc import Container, Sequence

import asyncpg
from msgspec import Struct

from schemas.facts import Fact
from schemas.secrets import MASK
from schemas.users import (
    PasswordChanged,
    PermissionGranted,
    PermissionRevoked,
    TokenRevoked,
    UserChanged,
    UserCreated,
    UserDeleted,
)
from services.accounts.accounts import MODELS, Account
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.runtime.errors import Conflict, Forbidden, Invalid, NotFound

USER = "SELECT uuid, username, name, context, permissions FROM users WHERE uuid = $1"
USER_OF_NAME = "SELECT uuid FROM users WHERE username = $1"
OTHER_ADMIN = "SELECT uuid FROM users WHERE permissions ? 'admin' AND uuid <> $1 LIMIT 1"
TOKENS = "SELECT token_hash FROM tokens WHERE user_uuid = $1 ORDER BY issued"
UNKNOWN_USER = """
SELECT named.uuid FROM unnest($1::text[]) AS named(uuid)
WHERE NOT EXISTS (SELECT FROM users u WHERE u.pbx = '' AND u.uuid = named.uuid)
LIMIT 1
"""


class NewUser(Struct, frozen=True):
    """A user to create."""

    username: str
    password: str
    name: str = ""
    context: str = ""
    permissions: frozenset[str] = frozenset()


class UserPatch(Struct, frozen=True):
    """Changes of a user; None leaves a value. ``permissions`` replaces all permissions of the user."""

    username: str | None = None
    password: str | None = None
    name: str | None = None
    context: str | None = None
    permissions: frozenset[str] | None = None


async def create_user(context: CommandContext, request: RequestContext, new: NewUser, collection: str) -> Outcome:
    """Create a user, located below the path ``collection``."""
    if new.password == MASK:
        raise Invalid(f"{MASK} is what is served instead of a password")
    hashed = await context.accounts.hash_password(new.password, request.actor)
    user_uuid = str(uuid.uuid4())
    permissions = tuple(sorted(new.permissions))

    async def decision(connection: asyncpg.Connection) -> Decision:
        require_admin(request.recheck(context.accounts), permissions)
        await require_free_name(connection, new.username)
        created = UserCreated(user_uuid, new.username, new.name, hashed, permissions, "user", new.context)
        return Decision([created], location=f"{collection}/{user_uuid}")

    return await decide(context, request, MODELS, decision)


async def change_user(context: CommandContext, request: RequestContext, user_uuid: str, change: UserPatch) -> Outcome:
    """Change a user. A new password ends the user's tokens, except the one that makes this request."""
    hashed = ""
    if change.password not in {None, MASK}:
        hashed = await context.accounts.hash_password(change.password or "", request.actor)

    async def decision(connection: asyncpg.Connection) -> Decision:
        caller, row = request.recheck(context.accounts), await require_user(connection, user_uuid)
        facts = [*_user_changes(row, change), *_permission_changes(row, change.permissions)]
        require_admin(caller, {*row["permissions"], *(change.permissions or ())})
        if change.username is not None and change.username != row["username"]:
            await require_free_name(connection, change.username)
        if any(isinstance(fact, PermissionRevoked) and fact.permission == "admin" for fact in facts):
            await require_other_admin(connection, user_uuid)
        if hashed:
            facts.append(PasswordChanged(user_uuid, hashed, "user"))
            facts += [
                TokenRevoked(token, "password changed")
                for (token,) in await connection.fetch(TOKENS, user_uuid)
                if token != request.token_hash
            ]
        return Decision(facts)

    return await decide(context, request, MODELS, decision)


async def delete_user(context: CommandContext, request: RequestContext, user_uuid: str) -> Outcome:
    """Delete a user, together with the user's tokens."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        caller, row = request.recheck(context.accounts), await require_user(connection, user_uuid)
        require_admin(caller, row["permissions"])
        if "admin" in row["permissions"]:
            await require_other_admin(connection, user_uuid)
        tokens = [TokenRevoked(token, "user deleted") for (token,) in await connection.fetch(TOKENS, user_uuid)]
        return Decision([UserDeleted(user_uuid), *tokens])

    return await decide(context, request, (*MODELS, "contacts"), decision)


def _user_changes(row: asyncpg.Record, change: UserPatch) -> list[Fact]:
    new = {
        name: value
        for name in ("username", "name", "context")
        if (value := getattr(change, name)) is not None and value != row[name]
    }
    return [UserChanged(row["uuid"], **new)] if new else []


def _permission_changes(row: asyncpg.Record, permissions: frozenset[str] | None) -> list[Fact]:
    if permissions is None:
        return []
    before = row["permissions"]
    return [
        *(PermissionRevoked(before[name], row["uuid"], name) for name in sorted(before.keys() - permissions)),
        *(PermissionGranted(str(uuid.uuid4()), row["uuid"], name) for name in sorted(permissions - before.keys())),
    ]


async def require_user(connection: asyncpg.Connection, user_uuid: str) -> asyncpg.Record:
    """Return the user's row. Raises NotFound."""
    row = await connection.fetchrow(USER, user_uuid)
    if row is None:
        raise NotFound(f"not found: user {user_uuid}")
    return row


async def require_users(connection: asyncpg.Connection, user_uuids: Sequence[str]) -> None:
    """Raise NotFound if one of these users does not exist; the caller too may just have been deleted."""
    stranger = await connection.fetchval(UNKNOWN_USER, user_uuids)
    if stranger is not None:
        raise NotFound(f"not found: user {stranger}")


def require_admin(caller: Account, permissions: Container[str]) -> None:
    """Raise Forbidden for a caller without ``admin`` where ``permissions``, of the target or to grant, are reserved.

    A manager who could grant ``supervisor``, or set the password of a supervisor, could read every call.
    """
    for reserved in ("admin", "supervisor"):
        if reserved in permissions and not caller.may("admin"):
            raise Forbidden(f"permission admin is needed to grant {reserved}, or to change a user who has it")


async def require_free_name(connection: asyncpg.Connection, username: str) -> None:
    """Raise Conflict if a user has this name."""
    if await connection.fetchval(USER_OF_NAME, username) is not None:
        raise Conflict("this user name is taken")


async def require_other_admin(connection: asyncpg.Connection, user_uuid: str) -> None:
    """Raise Conflict if no other user has the permission ``admin``."""
    if await connection.fetchval(OTHER_ADMIN, user_uuid) is None:
        raise Conflict("this is the last user with permission admin")
