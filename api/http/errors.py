"""What a handler raises when its answer is no success."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer that is no success: HTTP status, the dialect's own ``code`` where it has words, a text for people.

    ``more`` are members of the body besides these.
    """

    def __init__(
        self,
        status: int,
        message: str = "",
        code: str = "",
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.more = more or {}


def too_many(seconds: float) -> ApiError:
    """Say when to come again."""
    return ApiError(429, "too many attempts", "too-many", {"Retry-After": str(max(1, math.ceil(seconds)))})
