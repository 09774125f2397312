"""Facts: one decision at a time, made on all that was decided before, and answered when it has been folded.

That is what makes "this name is taken" true: of two requests at once, also at two processes, the second sees what
the first one made. A decision takes as long as the projector takes to fold it, some tens of milliseconds.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct, field

from api.app_keys import DECIDING, FACTS, FRESHNESS, HEARTBEAT, POOL
from api.http.errors import ApiError
from schemas.facts import Fact, RequestAnswered
from services.commands.request import Asking, asking
from services.database.heartbeat import SilentError
from services.database.locks import Lock, locked
from services.projector.checkpoints import Freshness

TURN_SECONDS = 4.0
"""How long a decision waits for those before it and for the read models."""
FOLD_SECONDS = 4.0
"""Each of these waits ends a request within five seconds: the others are over at once where one of them is not."""

# The table's key begins with pbx, of which there are few: PostgreSQL 18 skips from one to the next.
EARLIER = "SELECT digest, pbx, act, position, result, location FROM requests WHERE actor = $1 AND key = $2"


class Decision(Struct, frozen=True):
    """What follows from a request: facts, what the envelope's ``result`` is (none if empty), and where it now is.

    ``pbx`` is the PBX that the facts are about; most are about none.
    """

    facts: Sequence[Fact]
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
    pbx: str = ""


class Decided(Struct, frozen=True):
    """What is answered; ``position`` is that of the last fact, ``replayed``: it was decided earlier."""

    position: int
    request: str
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
    replayed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {
            "Cache-Control": "no-store",
            "X-Ledger-Position": str(self.position),
            "X-Request-Id": self.request,
            **({"Location": self.location} if self.location else {}),
            **({"Idempotency-Replayed": "true"} if self.replayed else {}),
        }


class Earlier(Struct, frozen=True):
    """A request that came before under the same key; ``act`` is the act's id, at ``pbx``; both are empty for facts."""

    digest: str
    pbx: str
    act: str
    position: int
    result: dict[str, Any]
    location: str


Decide = Callable[[asyncpg.Connection], Awaitable[Decision]]
"""Looks at the read models, as they are after all earlier decisions, and decides. Raises ApiError to refuse."""


async def decide(request: web.Request, models: Sequence[str], decision: Decide, dialect: str = "jade") -> Decided:
    """Decide a request on ``models``, append its facts and wait until they are folded.

    Raises ApiError: what the decision raises, 422 for a key that another request had, 503 when the read models are
    behind (the facts may be in the log then, and the same Idempotency-Key finds them).
    """
    asked = await asking(request, dialect)
    watched = {*models, "requests"} if asked.key else set(models)
    freshness = request.app[FRESHNESS]
    async with deciding(request.app, watched) as connection:
        earlier = await earlier_of(connection, asked, act=False)
        if earlier is not None:
            return Decided(earlier.position, asked.request, earlier.result, earlier.location, replayed=True)
        made = await decision(connection)
        facts = [asked.stamp(fact) for fact in made.facts]
        if asked.key:
            facts.append(asked.stamp(RequestAnswered(asked.key, asked.digest, made.result, made.location)))
        if not facts:  # what was wanted is so already
            return Decided(freshness.reading.position(models), asked.request, made.result, made.location)
        position = await request.app[FACTS].append(*facts, pbx=made.pbx, connection=connection)
        await folded(freshness, watched, position)
        return Decided(position, asked.request, made.result, made.location)


async def earlier_of(connection: asyncpg.Connection, asked: Asking, *, act: bool) -> Earlier | None:
    """Return the request for an act, or for facts, that came before under this key.

    Raises ApiError 422 if it was another one.
    """
    if not asked.key:
        return None
    row = await connection.fetchrow(EARLIER, asked.actor, asked.key)
    if row is None:
        return None
    if row["digest"] != asked.digest or bool(row["act"]) != act:
        raise ApiError(422, "this Idempotency-Key was used for another request")
    return Earlier(*row)


@asynccontextmanager
async def deciding(app: web.Application, models: set[str]) -> AsyncIterator[asyncpg.Connection]:
    """Hold the right to decide, with these models folded up to the end of the log; give a connection to read them.

    A decision must be appended over this connection: a process that loses it loses the right too. Even an append
    whose answer was lost is in the log, or never will be, before the next decision begins.

    Raises ApiError 503, and one of database.UNREACHABLE, when the turn does not come in `TURN_SECONDS`.
    """
    one_at_a_time = app[DECIDING]
    async with contextlib.AsyncExitStack() as turn:
        try:
            async with app[HEARTBEAT].limit(TURN_SECONDS):
                await turn.enter_async_context(one_at_a_time)
                connection = await turn.enter_async_context(app[POOL].acquire())
                await turn.enter_async_context(locked(connection, Lock.DECISION))
                reading = await app[FRESHNESS].look(connection)
                app[FRESHNESS].seen(reading)
                await folded(app[FRESHNESS], models, reading.head)
        except TimeoutError:
            raise ApiError(503, "earlier decisions take long; try again", "not-ready", {"Retry-After": "1"}) from None
        yield connection


async def folded(freshness: Freshness, models: set[str], position: int) -> None:
    """Wait until these models have folded the log up to ``position``. Raises ApiError 503 if that takes too long."""
    try:
        async with freshness.heartbeat.limit(FOLD_SECONDS):
            await freshness.folded(tuple(models), position)
    except (TimeoutError, SilentError):
        headers = {"Retry-After": "1", "X-Ledger-Position": str(position)}
        raise ApiError(503, "the read models are behind; try again", "not-ready", headers) from None
