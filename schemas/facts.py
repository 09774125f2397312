"""What people decide through the API: every such event says who wanted it, in which dialect, by which request."""

from typing import Any

from msgspec import field

from schemas.log import RingledgerEvent


class Fact(RingledgerEvent, frozen=True, kw_only=True):
    """Base of what somebody decided.

    ``actor`` is the user's uuid (empty: the settings, or Ringledger itself), ``dialect`` is ``jade``, ``cospace``, ...,
    ``request`` the X-Request-Id of the request.
    """

    actor: str = ""
    dialect: str = ""
    request: str = ""


class RequestAnswered(Fact, frozen=True):
    """A request with an Idempotency-Key has been decided; stands right behind the facts that it made.

    ``key`` and ``digest`` are as in ``api/http/idempotency.py``; ``result`` and ``location`` are what was answered.
    """

    key: str
    digest: str
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
