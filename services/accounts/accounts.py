"""Who is asking: users and tokens in memory, as the read models have them."""

import asyncio
import hashlib

import asyncpg
from msgspec import Struct

from schemas.log import Ours
from schemas.users import TokenRevoked, TokenUsed
from services.accounts.hashing import Hashing
from services.accounts.passwords import NOBODY, hash_password, matches
from services.accounts.places import Places
from services.accounts.throttle import Throttle
from services.projector.checkpoints import Reading, UnreadyError
from services.runtime.clock import CLOCK, Clock
from services.runtime.errors import TooMany, Unauthenticated

MODELS = ("users", "tokens")
IDLE_SECONDS = 3600.0
TOUCH_SECONDS = 600.0
"""How often a token's use is written down: its idle time survives a restart with this error, never in its favour."""
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
    """One row of ``tokens``.

    ``written`` is its last use as the log has it (seconds since the epoch), ``used`` its last use as this process knows
    it, by the monotonic clock: a clock that is set forward for a moment ends no token, and one that is set back keeps
    none.
    """

    user: User
    written: float
    used: float


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Accounts:
    """Users and tokens of this process; `follow` keeps them as the read models are."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.by_name: dict[str, User] = {}
        self.throttle = Throttle()
        self.places = Places()
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._tag = ""
        self._hashing = Hashing()

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
                tokens[hashed] = self._token(users[owner], used.timestamp(), self._tokens.get(hashed))
        await self.places.read(connection)
        self.by_name, self._tokens, self._tag = by_name, tokens, reading.tag(MODELS)

    @property
    def tag(self) -> str:
        """The tag of the users and tokens in memory; empty before the first reading."""
        return self._tag

    def holder(self, token: str) -> User | None:
        """Return the user of this token. Unlike `owner` it does not count as a use."""
        known = self._tokens.get(token_hash(token))
        return known.user if known else None

    def _token(self, user: User, written: float, known: Token | None) -> Token:
        if known is not None and known.written == written:
            return Token(user, written, known.used)
        used = self._clock.passed() - max(0.0, self._clock.now() - written)
        return Token(user, written, used if known is None else max(used, known.used))

    def owner(self, token: str) -> User | None:
        """Return whose token this is, unless it has expired; it counts as used now."""
        known = self._tokens.get(token_hash(token))
        now = self._clock.passed()
        if known is None or now - known.used > IDLE_SECONDS:
            return None
        known.used = now
        return known.user

    def unwritten(self, least: float = TOUCH_SECONDS) -> list[Ours]:
        """Return facts about tokens whose last use was written down longer ago than ``least`` seconds."""
        ahead = self._clock.now() - self._clock.passed()
        return [
            TokenUsed(hashed, t.used + ahead)
            for hashed, t in self._tokens.items()
            if t.used + ahead - t.written > least
        ]

    def expired(self, user: User | None = None) -> list[Ours]:
        """Return facts that end tokens which have expired, whichever process saw them used; not all at once."""
        now = self._clock.passed()
        old = [hashed for hashed, t in self._tokens.items() if now - t.used > IDLE_SECONDS + 2 * TOUCH_SECONDS]
        return [TokenRevoked(hashed, "expired", actor=user.uuid if user else "") for hashed in old[:SWEEP]]

    def of(self, user_uuid: str) -> list[str]:
        """Return the hashes of a user's tokens."""
        return [hashed for hashed, t in self._tokens.items() if t.user.uuid == user_uuid]

    async def verify(self, username: str, password: str, client: str) -> User:
        """Return the user whose name and password these are; ``client`` is the address that asks.

        Raises Unauthenticated, TooMany after too many failures, and UnreadyError while no user has been read.
        """
        if not self._tag:
            raise UnreadyError("the database has not answered yet")
        # A client that has to wait takes no place in the queue.
        is_known = self._check(username, client)

        async def judge() -> User | None:
            # Once more, for guesses that came at once: each failure counts before the next hash.
            is_known = self._check(username, client)
            user = self.by_name.get(username)
            is_right = await asyncio.to_thread(matches, user.password_hash if user else NOBODY, password)
            if is_right and user is not None:
                self.throttle.succeeded(username, client)
                return user
            self.throttle.failed(username, client, is_known=is_known)
            return None

        if is_known:
            user = await self._hashing.run("known clients", f"{client} {username}", judge)
        else:
            user = await self._hashing.run("clients", client, judge)
        if user is None:
            raise Unauthenticated("wrong user name or password", scheme="basic")
        return user

    def _check(self, username: str, client: str) -> bool:
        """Return whether this client has logged in as this user before. Raises TooMany if it has to wait."""
        user = self.by_name.get(username)
        is_known = user is not None and self.places.has(user.uuid, client)
        if (seconds := self.throttle.wait(username, client, is_known=is_known)) > 0:
            raise TooMany(seconds)
        return is_known

    async def hashed(self, password: str, user: User) -> str:
        """Return the hash of a new password, which ``user`` gives. Raises TooMany when too many of theirs wait."""

        async def make() -> str:
            return await asyncio.to_thread(hash_password, password)

        return await self._hashing.run("users", user.uuid, make)


async def _rows(connection: asyncpg.Connection, sql: str) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await connection.fetch(sql)
    return rows
