"""Events of decisions made through the API, each with the actor, the dialect and the request."""

from typing import Any

from msgspec import field

from schemas.log import RingledgerEvent


class Fact(RingledgerEvent, frozen=True, kw_only=True):
    """Base of the events of decisions.

    ``actor`` is the user's uuid (empty: the settings, or Ringledger itself), ``dialect`` is ``jade``, ``cospace``, ...,
    ``request`` the X-Request-Id of the request.
    """

    actor: str = ""
    dialect: str = ""
    request: str = ""


class RequestAnswered(Fact, frozen=True):
    """A request with an Idempotency-Key is decided; this event follows directly after the facts of the decision.

    ``key`` and ``digest`` are as in ``api/http/idempotency.py``; ``result`` and ``location`` are those of the response.
    """

    key: str
    digest: str
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""
