"""The chats of a user, for /me/info. There are none as yet: they come with /me/chats."""

from typing import Any

import asyncpg

MODELS: tuple[str, ...] = ()
"""The read models that `chats_of` asks."""


async def chats_of(_connection: asyncpg.Connection, _user_uuid: str) -> list[dict[str, Any]]:
    """Return the user's chats as /me/chats tells them."""
    return []
