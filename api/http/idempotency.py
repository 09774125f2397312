"""The headers of a write: X-Request-Id and Idempotency-Key of the request, the position in the response."""

import hashlib
import hmac
import re
import uuid

from aiohttp import web

from api.app_keys import COMMANDS
from api.http.auth import PERMISSION, USER, token_of
from api.http.body import read_bytes
from api.http.dialect import dialect_of
from services.accounts.accounts import token_hash
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Outcome
from services.runtime.errors import Invalid

REQUEST_ID = re.compile(r"[!-~]{1,128}")
KEY = re.compile(r"[!-~]{1,255}")


async def command_args(request: web.Request) -> tuple[CommandContext, RequestContext]:
    """Return the first two arguments of every use case. Raises Invalid for a malformed header."""
    return request.app[COMMANDS], await request_context(request)


async def request_context(request: web.Request) -> RequestContext:
    """Return who makes the request, in which dialect, and what identifies it. Raises Invalid for a malformed header."""
    request_id = request.headers.get("X-Request-Id", "")
    if request_id and not REQUEST_ID.fullmatch(request_id):
        raise Invalid("X-Request-Id: 1 to 128 visible ASCII characters")
    key = request.headers.get("Idempotency-Key")
    hashed = digest = ""
    if key is not None:
        if not KEY.fullmatch(key):
            raise Invalid("Idempotency-Key: 1 to 255 visible ASCII characters")
        hashed = hashlib.sha256(key.encode()).hexdigest()
        query = "&".join(f"{name}={value}" for name, value in request.query.items() if name != "authtoken")
        head = f"{request.method}\0{request.path}\0{query}".encode("utf-8", "surrogateescape")
        digest = hmac.new(key.encode(), head + b"\0" + await read_bytes(request), "sha256").hexdigest()
    return RequestContext(
        actor=request[USER].uuid,
        dialect=dialect_of(request).name,
        request_id=request_id or str(uuid.uuid4()),
        key=hashed,
        digest=digest,
        token_hash=token_hash(token_of(request) or ""),
        permission=request[PERMISSION],
    )


def outcome_headers(outcome: Outcome) -> dict[str, str]:
    """Return the response headers of a write."""
    return {
        "Cache-Control": "no-store",
        "X-Ledger-Position": str(outcome.position),
        "X-Request-Id": outcome.request_id,
        **({"Location": outcome.location} if outcome.location else {}),
        **({"Idempotency-Replayed": "true"} if outcome.is_replayed else {}),
    }
