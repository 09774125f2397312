"""Bodies of requests: JSON, whatever their content type is (curl -d sends that of a form)."""

from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from api.http.errors import ApiError
from services.runtime.json_text import strings_in

T = TypeVar("T")

Line = Annotated[str, Meta(max_length=255)]
"""A short text. `read_body` refuses NUL in it."""
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Uuid = Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\\Z")]


async def read_body(request: web.Request, shape: type[T]) -> T:
    """Return the body as ``shape``; unknown members are ignored. Raises ApiError 400."""
    members = decode_object(await read_bytes(request))
    try:
        return msgspec.convert(members, shape)
    except msgspec.ValidationError as error:
        raise ApiError(400, str(error)) from None


async def read_bytes(request: web.Request) -> bytes:
    """Return the body's bytes. Raises ApiError 400 if they cannot be decoded or the client left before their end."""
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise ApiError(400, "the body does not match its Content-Encoding or Transfer-Encoding") from None
    except ConnectionError:
        raise ApiError(400, "the client left before the end of the body") from None


def decode_object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object without NUL in any text. Raises ApiError 400, also for one nested too deep to be read."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, Any])
        has_nul = any("\0" in text for text in strings_in(members))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "the body is not a JSON object") from None
    if has_nul:
        raise ApiError(400, "NUL cannot be part of a text")
    return members
