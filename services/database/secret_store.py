"""Secret values between the API's request and the commander that writes them into the PBX: the table ledger.secret.

The table is unlogged, so neither PostgreSQL's write-ahead log nor a replica nor an export has its rows. A row exists
until the commander consumes it, for at most a minute.
"""

from collections.abc import Collection, Mapping

from services.database.pool import Fetch, Pool

INSERT = "INSERT INTO ledger.secret (id, value) SELECT * FROM unnest($1::text[], $2::text[])"
# A row from the future was made before the clock was set back.
EXPIRE = "DELETE FROM ledger.secret WHERE made NOT BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'"
CONSUME = "DELETE FROM ledger.secret WHERE id = ANY($1) RETURNING id, value"


async def store(pool: Pool, values: Mapping[str, str]) -> None:
    """Store values by token, and delete expired ones."""
    await pool.execute(EXPIRE)
    if values:
        await pool.execute(INSERT, list(values), list(values.values()))


async def consume(fetch: Fetch, tokens: Collection[str]) -> dict[str, str]:
    """Return the values of these tokens and delete them; expired and unknown tokens are left out."""
    return dict(await fetch(CONSUME, list(tokens))) if tokens else {}


async def expire(fetch: Fetch) -> None:
    """Delete values that no commander has consumed within a minute."""
    await fetch(EXPIRE)
