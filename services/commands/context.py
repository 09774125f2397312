"""The arguments that all use cases share: the parts of the process, and the request that they serve."""

import asyncio
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from schemas.facts import Fact
from services.accounts.accounts import Account, Accounts, authorized
from services.database.pool import Pool
from services.log.writer import EventWriter
from services.projector.checkpoints.watcher import CheckpointWatcher

F = TypeVar("F", bound=Fact)


class CommandContext(Struct, frozen=True):
    """The parts of one process; `api/app.py` makes it once.

    ``lock`` admits one decision of this process at a time, so waiting decisions occupy no connection of the pool.
    """

    pool: Pool
    writer: EventWriter
    checkpoints: CheckpointWatcher
    accounts: Accounts
    lock: asyncio.Lock


class RequestContext(Struct, frozen=True):
    """The caller, the dialect and the identity of a request.

    ``actor`` is the user's uuid. ``key`` is the SHA-256 of the Idempotency-Key, empty without one. ``digest`` is the
    HMAC-SHA-256 of method, path, query and body under the key itself, which is not stored: a body may hold a password,
    whose plain hash could be guessed. ``token_hash`` and ``permission`` are those that admitted the request.
    """

    actor: str
    dialect: str
    request_id: str
    key: str
    digest: str
    token_hash: str
    permission: str

    def stamp(self, fact: F) -> F:
        """Return the fact with actor, dialect and request id."""
        return replace(fact, actor=self.actor, dialect=self.dialect, request=self.request_id)

    def recheck(self, accounts: Accounts) -> Account:
        """Return the caller as of all earlier decisions; for decisions on ``users`` and ``tokens``.

        Raises Unauthenticated or Forbidden when one of those decisions ended the token or revoked the permission.
        """
        return authorized(accounts.user_of_hash(self.token_hash), self.permission)
