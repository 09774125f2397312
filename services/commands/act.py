"""Acts: a request to the commander of one PBX goes into the log, and its outcome is waited for there."""

import asyncio
import uuid
from typing import Any

import asyncpg
import structlog
from aiohttp import web
from msgspec import Struct

from api.app_keys import FACTS, FRESHNESS, POOL
from api.http.body import strings_in
from api.http.errors import ApiError
from schemas.acts import Act, ActRequested, builtins
from services.commands.commander_presence import is_lost, is_served, unserved
from services.commands.decide import Decided, deciding, earlier_of, folded
from services.commands.request import Asking, asking
from services.database.connection import UNREACHABLE
from services.database.notify import wake_commander

OUTCOME_SECONDS = 5.0
STATUS = {
    "refused": 502,
    "absent": 404,
    "conflict": 409,
    "invalid": 400,
    "unreachable": 503,
    "expired": 504,
    "impossible": 501,
}
PBXES = "SELECT pbx FROM links ORDER BY pbx"
ROW = "SELECT state, reason, message, result, position, requested FROM acts WHERE pbx = $1 AND id = $2"
UNRECORDED = "the request was not recorded"
UNSENT = "the request was recorded, and will not be done"
FORBIDDEN = "\r\n\0"

logger = structlog.get_logger()


class Row(Struct, frozen=True):
    """What the read model ``acts`` says of one request."""

    state: str
    reason: str
    message: str
    result: dict[str, Any]
    position: int
    requested: int


class Requested(Struct, frozen=True):
    """An act in the log: ``id`` and ``position`` of its ActRequested; ``again``: an earlier request made it."""

    pbx: str
    id: str
    position: int
    again: bool = False


async def one_pbx(request: web.Request) -> str:
    """Return the PBX of ``?pbx=``, or the only one there is. Raises ApiError 404 or 400."""
    known = [row["pbx"] for row in await request.app[POOL].fetch(PBXES)]
    named = request.query.get("pbx")
    if named is not None:
        if named not in known:
            raise ApiError(404, "no such PBX")
        return named
    if len(known) != 1:
        raise ApiError(400, "pbx=NAME is needed: there are several" if known else "no PBX has been heard yet")
    pbx: str = known[0]
    return pbx


def sendable(*words: str) -> None:
    """Raise ApiError 400 for CR, LF or NUL in any of these texts: it could begin another action."""
    if any(letter in word for word in words for letter in FORBIDDEN):
        raise ApiError(400, "CR, LF and NUL cannot be part of what is sent to a PBX")


async def replayed(request: web.Request, dialect: str = "jade") -> Decided | None:
    """Return what came of the same request when it was made before under its Idempotency-Key, None if it was not.

    What an act was about may be gone since: a handler that looks for it asks this first. Raises what `act` raises.
    """
    asked = await asking(request, dialect)
    if not asked.key:
        return None
    async with deciding(request.app, {"requests"}) as connection:
        earlier = await earlier_of(connection, asked, act=True)
    if earlier is None:
        return None
    requested = Requested(earlier.pbx, earlier.act, earlier.position, again=True)
    return await _decided(request.app, requested, asked)


async def act(request: web.Request, pbx: str, wanted: Act, location: str = "", dialect: str = "jade") -> Decided:
    """Have it done at a PBX, and return what came of it.

    Raises ApiError: 400 for CR, LF or NUL in any text, which could begin another action; what `STATUS` says for an
    act that failed; 504 with the request's position when the outcome is not known, or not after `OUTCOME_SECONDS`;
    503 where no commander serves the PBX. Such a request is not recorded, and does not use up its Idempotency-Key.
    """
    made = builtins(wanted)
    sendable(*strings_in(made))
    asked = await asking(request, dialect)
    has_commander = await is_served(request.app[POOL], pbx)
    if asked.key:
        async with deciding(request.app, {"requests"}) as connection:
            earlier = await earlier_of(connection, asked, act=True)
            if earlier is not None:
                requested = Requested(earlier.pbx, earlier.act, earlier.position, again=True)
            elif has_commander:
                requested = await _request(request.app, pbx, asked, made, connection)
                await folded(request.app[FRESHNESS], {"requests"}, requested.position)
            else:
                raise unserved(pbx, UNRECORDED, {"X-Request-Id": asked.request})
    elif has_commander:
        requested = await _request(request.app, pbx, asked, made)
    else:
        raise unserved(pbx, UNRECORDED, {"X-Request-Id": asked.request})
    return await _decided(request.app, requested, asked, location)


async def _decided(app: web.Application, requested: Requested, asked: Asking, location: str = "") -> Decided:
    position = requested.position
    row = await _outcome(app, requested)
    if row is None and await _is_lost(app, requested):
        raise unserved(requested.pbx, UNSENT, _headers(position, asked), position)
    if row is None or row.state == "unknown":
        text = row.message if row else f"no outcome after {OUTCOME_SECONDS:.0f} s; it may still be done"
        raise ApiError(504, text, "no-outcome", _headers(position, asked), {"position": position})
    if row.state == "failed":
        headers = _headers(row.position, asked)
        raise ApiError(STATUS[row.reason], row.message, row.reason, headers, {"position": row.requested})
    return Decided(row.position, asked.request, row.result, location, replayed=requested.again)


async def _is_lost(app: web.Application, requested: Requested) -> bool:
    """Return whether it was not sent and no commander can send it any more; False where PostgreSQL does not answer."""
    try:
        return await is_lost(app[POOL], requested.pbx, requested.id, requested.position)
    except UNREACHABLE:
        return False


async def _request(
    app: web.Application,
    pbx: str,
    asked: Asking,
    made: dict[str, Any],
    connection: asyncpg.Connection | None = None,
) -> Requested:
    act_id = str(uuid.uuid4())
    fact = asked.stamp(ActRequested(act_id, made, asked.key, asked.digest))
    position = await app[FACTS].append(fact, pbx=pbx, connection=connection)
    try:
        await wake_commander(connection or app[POOL], pbx)
    except UNREACHABLE as error:
        # The request is in the log, and the commander finds it there a second later by itself.
        logger.warning("commander_not_woken", pbx=pbx, error=repr(error))
    return Requested(pbx, act_id, position)


async def _outcome(app: web.Application, requested: Requested) -> Row | None:
    """Wait for the end of an act; return None if there is none within `OUTCOME_SECONDS`."""
    freshness = app[FRESHNESS]
    try:
        async with asyncio.timeout(OUTCOME_SECONDS):
            await freshness.folded(("acts",), requested.position)
            while True:
                tag = freshness.reading.tag(("acts",))
                row = await app[POOL].fetchrow(ROW, requested.pbx, requested.id)
                if row is not None and row["state"] in {"succeeded", "failed", "unknown"}:
                    return Row(*row)
                await freshness.differs(("acts",), tag, OUTCOME_SECONDS)
                if freshness.stopping:
                    return None
    except TimeoutError:
        return None
    except UNREACHABLE:
        # It is in the log: the answer says where, so that whoever asked can look for the outcome.
        return None


def _headers(position: int, asked: Asking) -> dict[str, str]:
    return {"X-Ledger-Position": str(position), "X-Request-Id": asked.request}
