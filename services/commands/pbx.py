"""Which PBX a request is about, and which texts a PBX can be sent."""

import asyncpg

from services.database.pool import Pool
from services.runtime.errors import Invalid, NotFound

PBXES = "SELECT pbx FROM links ORDER BY pbx"
PBX = "SELECT pbx FROM links WHERE pbx = $1"
LINE_BREAKS = "\r\n\0"


async def resolve_pbx(pool: Pool, name: str | None) -> str:
    """Return the PBX of this name, or the only one. Raises NotFound or Invalid."""
    pbxes = [row["pbx"] for row in await pool.fetch(PBXES)]
    if name is not None:
        if name not in pbxes:
            raise NotFound(f"not found: PBX {name}")
        return name
    if len(pbxes) != 1:
        raise Invalid("pbx=NAME is needed: there are several" if pbxes else "no PBX has connected yet")
    pbx: str = pbxes[0]
    return pbx


async def require_known_pbx(connection: asyncpg.Connection, name: str) -> None:
    """Raise NotFound for the name of a PBX that never connected; the empty name means any PBX."""
    if name and await connection.fetchval(PBX, name) is None:
        raise NotFound(f"not found: PBX {name}")


def reject_line_breaks(*texts: str) -> None:
    """Raise Invalid for CR, LF or NUL in any of these texts: it could begin another action."""
    if any(letter in text for text in texts for letter in LINE_BREAKS):
        raise Invalid("CR, LF and NUL cannot be sent to a PBX")
