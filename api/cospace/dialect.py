"""cospace as a dialect: tokens, bare objects, status words."""

from api.cospace import envelope
from api.cospace.operations import OPERATIONS
from api.http.auth import identify
from api.http.dialect import Dialect

PARAMETERS = {"{host}": "{host:(?s:.+)}", "{period}": "{period:[^/]+}"}
"""A PBX's name may hold slashes."""


def pattern(path: str) -> str:
    """Return a path as the router takes it."""
    for parameter, expression in PARAMETERS.items():
        path = path.replace(parameter, expression)
    return path


COSPACE = Dialect(
    name="cospace",
    mount="/api/",
    authenticate=identify,
    failure=envelope.failure,
    pattern=pattern,
    operations=OPERATIONS,
)
