"""Acts: a request to the commander of one PBX goes into the log, and its outcome is waited for there."""

import asyncio
import time
import uuid
from typing import Any

from aiohttp import web
from msgspec import Struct

from api.asking import Asking, asking
from api.bodies import texts
from api.deciding import Decided, deciding, earlier_of, folded
from api.errors import ApiError
from api.keys import FACTS, FRESHNESS, POOL
from schemas.acts import Act, ActRequested, builtins
from services.database import UNREACHABLE
from services.waking import wake_commander

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
FORBIDDEN = "\r\n\0"


class Row(Struct, frozen=True):
    """What the read model ``acts`` says of one request."""

    state: str
    reason: str
    message: str
    result: dict[str, Any]
    position: int
    requested: int


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
    deadline = time.monotonic() + OUTCOME_SECONDS
    asked = await asking(request, dialect)
    if not asked.key:
        return None
    async with deciding(request.app, {"requests"}) as connection:
        earlier = await earlier_of(connection, asked, act=True)
    if earlier is None:
        return None
    row = await _outcome(request.app, earlier.pbx, earlier.act, earlier.position, deadline)
    return _decided(row, asked, earlier.position, again=True)


async def act(request: web.Request, pbx: str, wanted: Act, location: str = "", dialect: str = "jade") -> Decided:
    """Have it done at a PBX, and return what came of it.

    Raises ApiError: 400 for CR, LF or NUL in any text, which could begin another action; what `STATUS` says for an
    act that failed; 504 with the request's position when the outcome is not known, or not after `OUTCOME_SECONDS`.
    """
    made = builtins(wanted)
    sendable(*texts(made))
    deadline = time.monotonic() + OUTCOME_SECONDS
    asked = await asking(request, dialect)
    if asked.key:
        async with deciding(request.app, {"requests"}) as connection:
            earlier = await earlier_of(connection, asked, act=True)
            if earlier is None:
                act_id, position = await _request(request.app, pbx, asked, made)
                await folded(request.app[FRESHNESS], {"requests"}, position)
            else:
                act_id, position, pbx = earlier.act, earlier.position, earlier.pbx
        again = earlier is not None
    else:
        act_id, position = await _request(request.app, pbx, asked, made)
        again = False
    row = await _outcome(request.app, pbx, act_id, position, deadline)
    return _decided(row, asked, position, location, again=again)


def _decided(row: Row | None, asked: Asking, position: int, location: str = "", *, again: bool) -> Decided:
    if row is None or row.state == "unknown":
        text = row.message if row else f"no outcome after {OUTCOME_SECONDS:.0f} s; it may still be done"
        raise ApiError(504, text, "no-outcome", _headers(position, asked), {"position": position})
    if row.state == "failed":
        headers = _headers(row.position, asked)
        raise ApiError(STATUS[row.reason], row.message, row.reason, headers, {"position": row.requested})
    return Decided(row.position, asked.request, row.result, location, replayed=again)


async def _request(app: web.Application, pbx: str, asked: Asking, made: dict[str, Any]) -> tuple[str, int]:
    act_id = str(uuid.uuid4())
    requested = asked.stamp(ActRequested(act_id, made, asked.key, asked.digest))
    position = await app[FACTS].append(requested, pbx=pbx)
    async with app[POOL].acquire() as connection:
        await wake_commander(connection, pbx)
    return act_id, position


async def _outcome(app: web.Application, pbx: str, act_id: str, position: int, deadline: float) -> Row | None:
    """Wait for the end of an act; return None if there is none by then."""
    freshness = app[FRESHNESS]
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
            await freshness.folded(("acts",), position)
            while True:
                tag = freshness.reading.tag(("acts",))
                row = await app[POOL].fetchrow(ROW, pbx, act_id)
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
