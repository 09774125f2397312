"""jade as a dialect: tokens, the envelope, and paths with and without /v1."""

from api.http.auth import identify
from api.http.dialect import Dialect
from api.jade import envelope
from api.jade.operations import operations
from api.jade.routes import pattern
from schemas.settings import Settings


def jade(settings: Settings) -> Dialect:
    """Return the dialect. ``settings.open_views`` makes the unversioned forms of its oldest views public."""
    return Dialect(
        name="jade",
        mount="",
        authenticate=identify,
        failure=envelope.failure,
        pattern=pattern,
        operations=operations(open_views=settings.open_views),
    )
