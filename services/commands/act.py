"""Acts: a request to the commander of a PBX is appended to the log, and its outcome is awaited there."""

import asyncio
import uuid
from typing import Any

import asyncpg
import structlog
from msgspec import Struct

from schemas.acts import Act, ActRequested, builtins
from services.commands.commander_presence import is_lost, is_served, no_commander
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome, decision_lock, prior_request, wait_folded
from services.commands.pbx import reject_line_breaks
from services.database.errors import UNREACHABLE
from services.database.notify import notify_commander
from services.runtime.errors import ActFailure, OutcomeUnknown
from services.runtime.json_text import strings_in

OUTCOME_SECONDS = 5.0
ACT = "SELECT state, reason, message, result, position, requested FROM acts WHERE pbx = $1 AND id = $2"
NOT_RECORDED = "the request was not recorded"
NOT_SENT = "the request was recorded, and will not be done"

logger = structlog.get_logger()


class ActRow(Struct, frozen=True):
    """One row of the read model ``acts``."""

    state: str
    reason: str
    message: str
    result: dict[str, Any]
    position: int
    requested: int


class RequestedAct(Struct, frozen=True):
    """An act in the log: ``id`` and ``position`` of its ActRequested, which an earlier request may have appended."""

    pbx: str
    id: str
    position: int
    is_replayed: bool = False


async def prior_outcome(context: CommandContext, request: RequestContext) -> Outcome | None:
    """Return the outcome of the earlier request with the same Idempotency-Key, None without one.

    The target of an act may have vanished since, so this is called before the target is looked up. Raises what
    `request_act` raises.
    """
    if not request.key:
        return None
    async with decision_lock(context, {"requests"}) as connection:
        prior = await prior_request(connection, request, is_act=True)
    if prior is None:
        return None
    return await _outcome(context, request, RequestedAct(prior.pbx, prior.act, prior.position, is_replayed=True))


async def request_act(
    context: CommandContext, request: RequestContext, pbx: str, act: Act, location: str = ""
) -> Outcome:
    """Request an act at a PBX, and return its outcome.

    Raises Invalid for CR, LF or NUL in any text, and ActFailure. Raises OutcomeUnknown, also after `OUTCOME_SECONDS`,
    with the position of the request. Raises NotReady where no commander serves the PBX: the request is not recorded,
    and does not use up its Idempotency-Key.
    """
    content = builtins(act)
    reject_line_breaks(*strings_in(content))
    has_commander = await is_served(context.pool, pbx)
    if request.key:
        async with decision_lock(context, {"requests"}) as connection:
            prior = await prior_request(connection, request, is_act=True)
            if prior is not None:
                requested = RequestedAct(prior.pbx, prior.act, prior.position, is_replayed=True)
            elif has_commander:
                requested = await _append(context, request, pbx, content, connection)
                await wait_folded(context.checkpoints, {"requests"}, requested.position)
            else:
                raise no_commander(pbx, NOT_RECORDED, request.request_id)
    elif has_commander:
        requested = await _append(context, request, pbx, content)
    else:
        raise no_commander(pbx, NOT_RECORDED, request.request_id)
    return await _outcome(context, request, requested, location)


async def _append(
    context: CommandContext,
    request: RequestContext,
    pbx: str,
    content: dict[str, Any],
    connection: asyncpg.Connection | None = None,
) -> RequestedAct:
    act_id = str(uuid.uuid4())
    fact = request.stamp(ActRequested(act_id, content, request.key, request.digest))
    position = await context.writer.append(fact, pbx=pbx, connection=connection)
    try:
        await notify_commander(connection or context.pool, pbx)
    except UNREACHABLE as error:
        # The request is in the log, and the commander's next poll, a second later, finds it there.
        logger.warning("commander_not_woken", pbx=pbx, error=repr(error))
    return RequestedAct(pbx, act_id, position)


async def _outcome(
    context: CommandContext, request: RequestContext, requested: RequestedAct, location: str = ""
) -> Outcome:
    position, request_id = requested.position, request.request_id
    row = await _wait_ended(context, requested)
    if row is None and await _is_lost(context, requested):
        raise no_commander(requested.pbx, NOT_SENT, request_id, position)
    if row is None or row.state == "unknown":
        text = row.message if row else f"no outcome after {OUTCOME_SECONDS:.0f} s; it may still be done"
        raise OutcomeUnknown(text, details={"position": position}, position=position, request_id=request_id)
    if row.state == "failed":
        details = {"position": row.requested}
        raise ActFailure(row.message, row.reason, details=details, position=row.position, request_id=request_id)
    return Outcome(row.position, request_id, row.result, location, is_replayed=requested.is_replayed)


async def _is_lost(context: CommandContext, requested: RequestedAct) -> bool:
    """Return whether the act was not sent and no commander can send it now; False where PostgreSQL does not answer."""
    try:
        return await is_lost(context.pool, requested.pbx, requested.id, requested.position)
    except UNREACHABLE:
        return False


async def _wait_ended(context: CommandContext, requested: RequestedAct) -> ActRow | None:
    """Wait for the end of an act; return None without one within `OUTCOME_SECONDS`."""
    checkpoints = context.checkpoints
    try:
        async with asyncio.timeout(OUTCOME_SECONDS):
            await checkpoints.wait_folded(("acts",), requested.position)
            while True:
                tag = checkpoints.reading.tag(("acts",))
                row = await context.pool.fetchrow(ACT, requested.pbx, requested.id)
                if row is not None and row["state"] in {"succeeded", "failed", "unknown"}:
                    return ActRow(*row)
                await checkpoints.wait_changed(("acts",), tag, OUTCOME_SECONDS)
                if checkpoints.stopping:
                    return None
    except TimeoutError:
        return None
    except UNREACHABLE:
        # The request is in the log: the response names its position, where the client can look up the outcome.
        return None
