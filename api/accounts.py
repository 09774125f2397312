"""Who is asking: users and tokens in memory, as the read models have them."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable

import asyncpg
from msgspec import Struct

from api.errors import ApiError, too_many
from api.freshness import Reading, UnreadyError
from api.throttle import Throttle
from schemas.log import Ours
from schemas.users import TokenRevoked, TokenUsed
from services.users import NOBODY, hash_password, matches

MODELS = ("users", "tokens")
IDLE_SECONDS = 3600.0
TOUCH_SECONDS = 600.0
"""How often a token's use is written down: its idle time survives a restart with this error, never in its favour."""
WAITING_LOGINS = 32
SWEEP = 100

USERS = "SELECT uuid, username, name, password_hash, chosen_by, permissions FROM users ORDER BY tm_create, uuid"
TOKENS = "SELECT token_hash, user_uuid, used FROM tokens"


class User(Struct, frozen=True):
    """One row of ``users``."""

    uuid: str
    username: str
    name: str
    password_hash: str
    chosen_by: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Tell whether the user has the permission; ``admin`` has all, ``manager`` what ``user`` has."""
        has = self.permissions
        return permission in has or "admin" in has or (permission == "user" and "manager" in has)


class Token(Struct):
    """One row of ``tokens``: ``written`` is its use as the log has it, ``used`` as this process knows it."""

    user: User
    written: float
    used: float


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Accounts:
    """Users and tokens of this process; `follow` keeps them as the read models are."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.by_name: dict[str, User] = {}
        self.throttle = Throttle()
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._tag = ""
        self._verifying = asyncio.Semaphore(1)
        self._waiting = 0

    async def follow(self, connection: asyncpg.Connection, reading: Reading) -> None:
        """Read users and tokens anew when they have changed."""
        if not all(name in reading.models for name in MODELS) or reading.tag(MODELS) == self._tag:
            return
        users = {
            uuid: User(uuid, username, name, password_hash, chosen_by, frozenset(permissions))
            for uuid, username, name, password_hash, chosen_by, permissions in await _rows(connection, USERS)
        }
        by_name: dict[str, User] = {}
        for user in users.values():
            by_name.setdefault(user.username, user)
        tokens = {}
        for hashed, owner, used in await _rows(connection, TOKENS):
            if owner in users:
                known = self._tokens.get(hashed)
                tokens[hashed] = Token(
                    users[owner], used.timestamp(), max(used.timestamp(), known.used if known else 0)
                )
        self.by_name, self._tokens, self._tag = by_name, tokens, reading.tag(MODELS)

    def owner(self, token: str) -> User | None:
        """Return whose token this is, unless it has expired; it counts as used now."""
        known = self._tokens.get(token_hash(token))
        now = self._clock()
        if known is None or now - known.used > IDLE_SECONDS:
            return None
        known.used = now
        return known.user

    def unwritten(self, least: float = TOUCH_SECONDS) -> list[Ours]:
        """Return facts about tokens whose last use was written down longer ago than ``least`` seconds."""
        return [TokenUsed(hashed, t.used) for hashed, t in self._tokens.items() if t.used - t.written > least]

    def expired(self, user: User | None = None) -> list[Ours]:
        """Return facts that end tokens which have expired, whichever process saw them used; not all at once."""
        now = self._clock()
        old = [hashed for hashed, t in self._tokens.items() if now - t.used > IDLE_SECONDS + 2 * TOUCH_SECONDS]
        return [TokenRevoked(hashed, "expired", actor=user.uuid if user else "") for hashed in old[:SWEEP]]

    def of(self, user_uuid: str) -> list[str]:
        """Return the hashes of a user's tokens."""
        return [hashed for hashed, t in self._tokens.items() if t.user.uuid == user_uuid]

    async def verify(self, username: str, password: str, address: str) -> User:
        """Return the user whose name and password these are.

        Raises ApiError 401, or 429 after too many failures, and UnreadyError while no user has been read.
        """
        if not self._tag:
            raise UnreadyError("the database has not answered yet")
        key = (username, address)
        async with self._hashing():
            if (seconds := self.throttle.wait(key)) > 0:
                raise too_many(seconds)
            user = self.by_name.get(username)
            right = await asyncio.to_thread(matches, user.password_hash if user else NOBODY, password)
        if not right or user is None:
            self.throttle.failed(key)
            raise ApiError(401, "wrong user name or password", headers={"WWW-Authenticate": 'Basic realm="ringledger"'})
        self.throttle.succeeded(key)
        return user

    async def hashed(self, password: str) -> str:
        """Return the hash of a new password. Raises ApiError 429 when too many wait."""
        async with self._hashing():
            return await asyncio.to_thread(hash_password, password)

    @contextlib.asynccontextmanager
    async def _hashing(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_LOGINS:
            raise too_many(1)
        self._waiting += 1
        try:
            # One at a time: guesses sent at once are counted one after another, and memory is bounded.
            async with self._verifying:
                yield
        finally:
            self._waiting -= 1


async def _rows(connection: asyncpg.Connection, sql: str) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await connection.fetch(sql)
    return rows
