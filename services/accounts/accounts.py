"""Users and tokens in memory, as the read models have them."""

import asyncio
import hashlib

import asyncpg
from msgspec import Struct

from schemas.log import RingledgerEvent
from schemas.users import TokenRevoked, TokenUsed
from services.accounts.hashing import Hashing
from services.accounts.passwords import UNKNOWN_USER_HASH, hash_password, matches
from services.accounts.places import Places
from services.accounts.throttle import Throttle
from services.projector.checkpoints.checkpoints import CheckpointReading, UnreadyError
from services.runtime.clock import CLOCK, Clock
from services.runtime.errors import Forbidden, TooMany, Unauthenticated

MODELS = ("users", "tokens")
IDLE_SECONDS = 3600.0
TOUCH_SECONDS = 600.0
"""The interval at which a token's use is recorded. A restart can shorten its idle time by it, never extend it."""
SWEEP_TOKENS = 100

USERS = "SELECT uuid, username, name, password_hash, chosen_by, permissions FROM users ORDER BY tm_create, uuid"
TOKENS = "SELECT token_hash, user_uuid, used FROM tokens"


class Account(Struct, frozen=True):
    """One row of ``users``."""

    uuid: str
    username: str
    name: str
    password_hash: str
    chosen_by: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Return whether the user has the permission; ``admin`` includes all, ``manager`` includes ``user``."""
        has = self.permissions
        return permission in has or "admin" in has or (permission == "user" and "manager" in has)


class LoginToken(Struct):
    """One row of ``tokens``.

    ``written`` is its last use in the log (seconds since the epoch). ``used`` is its last use in this process by the
    monotonic clock: a clock that is briefly set forward ends no token, and one that is set back extends none.
    """

    user: Account
    written: float
    used: float


def authorized(user: Account | None, permission: str) -> Account:
    """Return the user. Raises Unauthenticated for None, and Forbidden where the user lacks the permission."""
    if user is None:
        raise Unauthenticated("log in first", scheme="bearer")
    if not user.may(permission):
        raise Forbidden(f"permission {permission} is needed")
    return user


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token, which is all that is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Accounts:
    """The users and tokens of one process; `follow` keeps them in step with the read models."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.by_name: dict[str, Account] = {}
        self.throttle = Throttle()
        self.places = Places()
        self._clock = clock
        self._tokens: dict[str, LoginToken] = {}
        self._tag = ""
        self._hashing = Hashing()

    async def follow(self, connection: asyncpg.Connection, reading: CheckpointReading) -> None:
        """Read users and tokens again when they have changed."""
        if not all(name in reading.models for name in MODELS) or reading.tag(MODELS) == self._tag:
            return
        users = {
            uuid: Account(uuid, username, name, password_hash, chosen_by, frozenset(permissions))
            for uuid, username, name, password_hash, chosen_by, permissions in await _rows(connection, USERS)
        }
        by_name: dict[str, Account] = {}
        for user in users.values():
            by_name.setdefault(user.username, user)
        tokens = {}
        for hashed, owner, used in await _rows(connection, TOKENS):
            if owner in users:
                tokens[hashed] = self._token(users[owner], used.timestamp(), self._tokens.get(hashed))
        await self.places.read(connection)
        self.by_name, self._tokens, self._tag = by_name, tokens, reading.tag(MODELS)

    @property
    def tag(self) -> str:
        """The tag of the users and tokens in memory; empty before the first read."""
        return self._tag

    def holder(self, token: str) -> Account | None:
        """Return the user of this token. Unlike `user_of_token` it does not count as a use."""
        present = self._tokens.get(token_hash(token))
        return present.user if present else None

    def _token(self, user: Account, written: float, before: LoginToken | None) -> LoginToken:
        if before is not None and before.written == written:
            return LoginToken(user, written, before.used)
        used = self._clock.monotonic() - max(0.0, self._clock.now() - written)
        return LoginToken(user, written, used if before is None else max(used, before.used))

    def user_of_token(self, token: str) -> Account | None:
        """Return the user of the token, unless it has expired; the token counts as used now."""
        return self.user_of_hash(token_hash(token))

    def user_of_hash(self, hashed: str) -> Account | None:
        """Return the user of the token with this `token_hash`, unless it has expired; the token counts as used now."""
        token = self._tokens.get(hashed)
        now = self._clock.monotonic()
        if token is None or now - token.used > IDLE_SECONDS:
            return None
        token.used = now
        return token.user

    def unsaved_uses(self, least: float = TOUCH_SECONDS) -> list[RingledgerEvent]:
        """Return facts about the tokens used more than ``least`` seconds after their last recorded use."""
        ahead = self._clock.now() - self._clock.monotonic()
        return [
            TokenUsed(hashed, t.used + ahead)
            for hashed, t in self._tokens.items()
            if t.used + ahead - t.written > least
        ]

    def expired(self, user: Account | None = None) -> list[RingledgerEvent]:
        """Return facts that end at most `SWEEP_TOKENS` tokens, which have expired in all processes."""
        now = self._clock.monotonic()
        old = [hashed for hashed, t in self._tokens.items() if now - t.used > IDLE_SECONDS + 2 * TOUCH_SECONDS]
        return [TokenRevoked(hashed, "expired", actor=user.uuid if user else "") for hashed in old[:SWEEP_TOKENS]]

    def token_hashes_of(self, user_uuid: str) -> list[str]:
        """Return the hashes of a user's tokens."""
        return [hashed for hashed, t in self._tokens.items() if t.user.uuid == user_uuid]

    async def verify(self, username: str, password: str, client: str) -> Account:
        """Return the user with this name and password; ``client`` is the address of the request.

        Raises Unauthenticated, TooMany after too many failures, and UnreadyError before the first read.
        """
        if not self._tag:
            raise UnreadyError("the database has not answered yet")
        # A client that must wait takes no place in the queue.
        is_known = self._check(username, client)

        async def compare() -> Account | None:
            # Checked again, for simultaneous guesses: each failure counts before the next hash.
            is_known = self._check(username, client)
            user = self.by_name.get(username)
            is_right = await asyncio.to_thread(matches, user.password_hash if user else UNKNOWN_USER_HASH, password)
            if is_right and user is not None:
                self.throttle.succeeded(username, client)
                return user
            self.throttle.failed(username, client, is_known=is_known)
            return None

        if is_known:
            user = await self._hashing.run("known clients", f"{client} {username}", compare)
        else:
            user = await self._hashing.run("clients", client, compare)
        if user is None:
            raise Unauthenticated("wrong user name or password", scheme="basic")
        return user

    def _check(self, username: str, client: str) -> bool:
        """Return whether this client has logged in as this user before. Raises TooMany if it must wait."""
        user = self.by_name.get(username)
        is_known = user is not None and self.places.has(user.uuid, client)
        if (seconds := self.throttle.wait(username, client, is_known=is_known)) > 0:
            raise TooMany(seconds)
        return is_known

    async def hash_password(self, password: str, user_uuid: str) -> str:
        """Return the hash of a new password, set by this user. Raises TooMany when too many of the user's wait."""

        async def make() -> str:
            return await asyncio.to_thread(hash_password, password)

        return await self._hashing.run("users", user_uuid, make)


async def _rows(connection: asyncpg.Connection, sql: str) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await connection.fetch(sql)
    return rows
