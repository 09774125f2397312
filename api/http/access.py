"""Access during a read: the read ends when its token ends or its user loses the permission."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import asyncpg
from aiohttp import web

from services.accounts.accounts import Accounts, authorized
from services.projector.checkpoints.checkpoints import CheckpointReading
from services.runtime.errors import Forbidden

T = TypeVar("T")


class Access:
    """The reads under way by token and permission; `follow` ends those that are no longer allowed."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._tag = ""
        self._limits: dict[tuple[str, str], set[asyncio.Timeout]] = {}

    async def watch(self, token: str, permission: str, read: Awaitable[T]) -> T:
        """Return the result of a read, or cancel it when its access ends. Raises Unauthenticated or Forbidden then."""
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
        raise Forbidden(f"permission {permission} was revoked meanwhile")

    async def follow(self, _connection: asyncpg.Connection, _reading: CheckpointReading) -> None:
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
