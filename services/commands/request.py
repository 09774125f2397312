"""Who asks for a change, by which request; and what is kept of an Idempotency-Key."""

import hashlib
import hmac
import re
import uuid
from typing import TypeVar

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from api.http.auth import USER
from api.http.body import read_bytes
from api.http.errors import ApiError
from schemas.facts import Fact

F = TypeVar("F", bound=Fact)

REQUEST_ID = re.compile(r"[!-~]{1,128}")
KEY = re.compile(r"[!-~]{1,255}")


class Asking(Struct, frozen=True):
    """What every event that a request causes says of it.

    ``key`` is the SHA-256 of the Idempotency-Key, ``digest`` the HMAC-SHA-256 of method, path, query and body under
    the key itself, which nobody keeps: a body may hold a password, and its bare hash could be guessed at.
    """

    actor: str
    dialect: str
    request: str
    key: str
    digest: str

    def stamp(self, fact: F) -> F:
        """Return the fact with who asked for it."""
        return replace(fact, actor=self.actor, dialect=self.dialect, request=self.request)


async def asking(request: web.Request, dialect: str = "jade") -> Asking:
    """Read it from the request. Raises ApiError 400 for an X-Request-Id or Idempotency-Key that is none."""
    request_id = request.headers.get("X-Request-Id", "")
    if request_id and not REQUEST_ID.fullmatch(request_id):
        raise ApiError(400, "X-Request-Id: 1 to 128 visible ASCII characters")
    key = request.headers.get("Idempotency-Key")
    hashed = digest = ""
    if key is not None:
        if not KEY.fullmatch(key):
            raise ApiError(400, "Idempotency-Key: 1 to 255 visible ASCII characters")
        hashed = hashlib.sha256(key.encode()).hexdigest()
        query = "&".join(f"{name}={value}" for name, value in request.query.items() if name != "authtoken")
        asked = f"{request.method}\0{request.path}\0{query}".encode("utf-8", "surrogateescape")
        digest = hmac.new(key.encode(), asked + b"\0" + await read_bytes(request), "sha256").hexdigest()
    user = request[USER]
    return Asking(user.uuid, dialect, request_id or str(uuid.uuid4()), hashed, digest)
