"""Decisions: one at a time, based on all earlier ones, and answered when the read models have folded their facts.

When two requests use the same name, even in two processes, the second sees the result of the first. A decision takes as
long as the projector needs to fold it, some tens of milliseconds.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from msgspec import Struct, field

from schemas.facts import Fact, RequestAnswered
from services.commands.context import CommandContext, RequestContext
from services.database.heartbeat import SilentError
from services.database.locks import Lock, locked
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.runtime.errors import KeyReused, NotReady

LOCK_SECONDS = 4.0
"""How long a decision waits for earlier ones and for the read models."""
FOLD_SECONDS = 4.0
"""Both limits keep a request below five seconds: when one wait is long, the other is short."""

# The table's key begins with pbx, which has few values: PostgreSQL 18 skips from one to the next.
PRIOR_REQUEST = "SELECT digest, pbx, act, position, result, location FROM requests WHERE actor = $1 AND key = $2"


class Decision(Struct, frozen=True):
    """The facts that follow from a request, the ``result`` to return (none if empty), and where the result now is.

    ``pbx`` is the PBX that the facts are about; most are about none.
    """

    facts: Sequence[Fact]
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
    pbx: str = ""


class Outcome(Struct, frozen=True):
    """The outcome of a decision or an act; ``position`` is that of its last event.

    ``is_replayed``: an earlier request with the same Idempotency-Key led to it.
    """

    position: int
    request_id: str
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
    is_replayed: bool = False


class PriorRequest(Struct, frozen=True):
    """An earlier request with the same key; ``act`` is the id of its act at ``pbx``, both are empty for facts."""

    digest: str
    pbx: str
    act: str
    position: int
    result: dict[str, Any]
    location: str


Decide = Callable[[asyncpg.Connection], Awaitable[Decision]]
"""Reads the read models as of all earlier decisions and decides. Raises CommandError to refuse."""


async def decide(context: CommandContext, request: RequestContext, models: Sequence[str], decision: Decide) -> Outcome:
    """Decide a request on ``models``, append its facts and wait until they are folded.

    Raises what the decision raises, KeyReused for a key of a different request, and NotReady when the read models are
    behind. In the last case the facts may be in the log; the same Idempotency-Key finds them.
    """
    watched = {*models, "requests"} if request.key else set(models)
    async with decision_lock(context, watched) as connection:
        prior = await prior_request(connection, request, is_act=False)
        if prior is not None:
            return Outcome(prior.position, request.request_id, prior.result, prior.location, is_replayed=True)
        made = await decision(connection)
        facts = [request.stamp(fact) for fact in made.facts]
        if request.key:
            facts.append(request.stamp(RequestAnswered(request.key, request.digest, made.result, made.location)))
        if not facts:  # The state is already the requested one.
            position = context.checkpoints.reading.position(models)
        else:
            position = await context.writer.append(*facts, pbx=made.pbx, connection=connection)
            await wait_folded(context.checkpoints, watched, position)
        return Outcome(position, request.request_id, made.result, made.location)


async def prior_request(
    connection: asyncpg.Connection, request: RequestContext, *, is_act: bool
) -> PriorRequest | None:
    """Return the earlier request with the same key, for an act or for facts.

    Raises KeyReused if it was a different one.
    """
    if not request.key:
        return None
    row = await connection.fetchrow(PRIOR_REQUEST, request.actor, request.key)
    if row is None:
        return None
    if row["digest"] != request.digest or bool(row["act"]) != is_act:
        raise KeyReused("this Idempotency-Key was used for another request")
    return PriorRequest(*row)


@asynccontextmanager
async def decision_lock(context: CommandContext, models: set[str]) -> AsyncIterator[asyncpg.Connection]:
    """Hold the lock of decisions, with these models folded up to the end of the log; yield a connection to read them.

    A decision must be appended over this connection: a process that loses it also loses the lock. An append without
    an answer is in the log, or never will be, before the next decision begins.

    Raises NotReady, or one of UNREACHABLE, when the lock is not acquired within `LOCK_SECONDS`.
    """
    checkpoints = context.checkpoints
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with checkpoints.heartbeat.limit(LOCK_SECONDS):
                await stack.enter_async_context(context.lock)
                connection = await stack.enter_async_context(context.pool.acquire())
                await stack.enter_async_context(locked(connection, Lock.DECISION))
                reading = await checkpoints.read(connection)
                checkpoints.observe(reading)
                await wait_folded(checkpoints, models, reading.head)
        except TimeoutError:
            raise NotReady("earlier decisions take long; try again") from None
        yield connection


async def wait_folded(checkpoints: CheckpointWatcher, models: set[str], position: int) -> None:
    """Wait until these models have folded the log up to ``position``. Raises NotReady if that takes too long."""
    try:
        async with checkpoints.heartbeat.limit(FOLD_SECONDS):
            await checkpoints.wait_folded(tuple(models), position)
    except (TimeoutError, SilentError):
        raise NotReady("the read models are behind; try again", position=position) from None
