"""Who may go on: a read under way ends when its token ends or its user loses the permission."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import asyncpg
from aiohttp import web

from api.http.errors import ApiError
from services.accounts.accounts import Accounts, User
from services.projector.checkpoints import Reading

T = TypeVar("T")


def authorized(user: User | None, permission: str) -> User:
    """Return the user. Raises ApiError 401 where there is none, 403 where the user lacks the permission."""
    if user is None:
        raise ApiError(401, "log in first", headers={"WWW-Authenticate": "Bearer"})
    if not user.may(permission):
        raise ApiError(403, f"permission {permission} is needed", "access-denied")
    return user


class Access:
    """The reads under way by token and permission; `follow` ends those that are no longer allowed."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._tag = ""
        self._limits: dict[tuple[str, str], set[asyncio.Timeout]] = {}

    async def watch(self, token: str, permission: str, read: Awaitable[T]) -> T:
        """Return the result of a read, or cancel it when its access ends. Raises ApiError 401 or 403 then."""
        key = (token, permission)
        limit = asyncio.timeout(None)
        self._limits.setdefault(key, set()).add(limit)
        try:
            async with limit:
                result = await read
            if not limit.expired():
                return result
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            limits = self._limits[key]
            limits.discard(limit)
            if not limits:
                del self._limits[key]
        authorized(self._accounts.holder(token), permission)
        raise ApiError(403, f"permission {permission} was taken meanwhile", "access-denied")

    async def follow(self, _connection: asyncpg.Connection, _reading: Reading) -> None:
        """End the reads that are no longer allowed; called after `Accounts.follow` has read the users and tokens."""
        if self._tag == self._accounts.tag:
            return
        self._tag = self._accounts.tag
        now = asyncio.get_running_loop().time()
        for (token, permission), limits in self._limits.items():
            user = self._accounts.holder(token)
            if user is None or not user.may(permission):
                for limit in limits:
                    limit.reschedule(now)


ACCESS = web.AppKey("access", Access)
