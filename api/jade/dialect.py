"""jade as a dialect: tokens, the envelope, and paths with and without /v1."""

from api.http.auth import identify
from api.http.dialect import Dialect
from api.jade import envelope
from api.jade.operations import operations
from schemas.settings import Settings

SLASHES = "{detail:(?s:.+)}"


def pattern(path: str) -> str:
    """Return a path as the router takes it. ``{detail}`` at its end may hold slashes.

    A proxy may have decoded %2F. Below /me details are UUIDs, and longer paths follow them.
    """
    takes_slashes = path.endswith("/{detail}") and not path.removeprefix("/v1").startswith("/me/")
    return path.replace("{detail}", SLASHES if takes_slashes else "{detail:[^/]+}")


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
