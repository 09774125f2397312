"""Addresses from which each user has logged in; guesses from elsewhere do not slow the user there.

The rows are in PostgreSQL: all processes share them, and they survive a restart.
"""

import hashlib

import asyncpg

MAX_PER_USER = 32
MAX_PLACES = 10_000

NEWEST = "SELECT user_uuid, place FROM ledger.login_place ORDER BY used DESC LIMIT $1"
UPSERT = """
INSERT INTO ledger.login_place (user_uuid, place) VALUES ($1, $2)
ON CONFLICT (user_uuid, place) DO UPDATE SET used = excluded.used
"""
DELETE_STALE = """
DELETE FROM ledger.login_place p
WHERE p.used < now() - interval '180 days'
   OR NOT EXISTS (SELECT FROM users u WHERE u.uuid = p.user_uuid)
   OR (p.user_uuid = $1 AND p.place IN (
       SELECT place FROM ledger.login_place WHERE user_uuid = $1 ORDER BY used DESC, place OFFSET $2))
"""


class Places:
    """The newest places of all users, in memory."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    async def read(self, connection: asyncpg.Connection) -> None:
        """Read the places, including those that other processes added."""
        self._places = {place for _, place in await connection.fetch(NEWEST, MAX_PLACES)}

    def has(self, user_uuid: str, client: str) -> bool:
        """Return whether the user has logged in from this client's address."""
        return _hash_of(user_uuid, client) in self._places

    async def add(self, connection: asyncpg.Connection, user_uuid: str, client: str) -> None:
        """Store the place of a login; old places and those of deleted users are removed."""
        place = _hash_of(user_uuid, client)
        await connection.execute(UPSERT, user_uuid, place)
        await connection.execute(DELETE_STALE, user_uuid, MAX_PER_USER)
        self._places.add(place)


def _hash_of(user_uuid: str, client: str) -> str:
    return hashlib.sha256(f"{user_uuid}\0{client}".encode()).hexdigest()
