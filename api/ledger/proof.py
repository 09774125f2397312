"""GET /v1/ledger/events/{position}: one event, with its proof against the head of the log."""

import re

from aiohttp import web

from api.app_keys import POOL
from api.http.auth import require_permission
from api.http.errors import ApiError
from api.http.query import MAX_BIGINT, QueryParams
from api.ledger import wire
from api.ledger.events import answer
from api.ledger.search import COLUMNS
from services.log import redactions
from services.log.archives import ArchivedError, read_catalog
from services.log.chain import LEAF_BYTES, SALT_BYTES, split
from services.log.read import read_head
from services.log.times import rfc3339_microseconds

EVENT = COLUMNS + "WHERE e.position = $1"
BATCH = """
SELECT first, last, connection, ordinal, appended, earliest, pbx, hash, leaves, salts
FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1
"""
PREVIOUS = "SELECT hash FROM ledger.batch WHERE first < $1 ORDER BY first DESC LIMIT 1"

CHECK = (
    "Times are microseconds since the epoch, numbers are decimal, text is UTF-8. The leaf is a SHA-256. Its input is"
    " the bytes of salt, then occurred (nothing where null), NUL, recorded, NUL, source, NUL, name, NUL and the bytes"
    " of raw (decoded where encoding is base64). The result must be leaf, which is number position - first (from 0) of"
    " leaves. The batch's hash is a SHA-256 too. Its input begins with the bytes of previous. Directly after them come"
    " first, last, connection, ordinal, appended, earliest, the length of pbx in bytes, and pbx, separated by single"
    " spaces. The bytes of all leaves follow directly. The result must be hash, which is previous of the event at"
    " last + 1, and so on to the hash of the head. (services/log/chain.py does the same.)"
)
REDACTED = (
    " This event was redacted, so its bytes and salt were replaced: their leaf must be the last after of redacted. The"
    " sealed leaf is the first before, and each after is the next before. The event Redacted at by records the change,"
    " and has a proof of its own."
)
MASKED = " This event's raw is masked here, so its leaf can be computed from the database only: ringledger verify."


async def event(request: web.Request) -> web.Response:
    QueryParams(request)
    text = request.match_info["position"]
    if not re.fullmatch(r"[0-9]{1,40}", text):
        raise ApiError(400, "a position is a whole number")
    position = int(text)
    if position > MAX_BIGINT:
        raise ApiError(404, "not found: the log ends before this position")
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await connection.fetchrow(EVENT, position)
        archived = await read_catalog(connection)
        if row is None and (archive := archived.archive_of(position)) is not None:
            raise ArchivedError(f"event {position}", archive)
        if row is None:
            raise ApiError(404, f"not found: event {position}")
        batch = await connection.fetchrow(BATCH, position)
        previous = archived.hash
        if batch["first"] != archived.position + 1:
            previous = await connection.fetchval(PREVIOUS, batch["first"])
        head = await read_head(connection)
        try:
            changes = await redactions.redactions_of(connection, batch["pbx"], position)
        except redactions.RedactionError as error:
            raise ApiError(500, f"{error}: ringledger verify", "internal-error") from None
    shown = wire.event_json(row)
    offset = position - batch["first"]
    leaves = [leaf.hex() for leaf in split(batch["leaves"], LEAF_BYTES)]
    proof = {
        "leaf": leaves[offset],
        "salt": batch["salts"][offset * SALT_BYTES : (offset + 1) * SALT_BYTES].hex(),
        "redacted": [{"by": by, "before": before.hex(), "after": after.hex()} for by, before, after in changes],
        "batch": {
            "first": batch["first"],
            "last": batch["last"],
            "connection": batch["connection"],
            "ordinal": batch["ordinal"],
            "appended": rfc3339_microseconds(batch["appended"]),
            "earliest": rfc3339_microseconds(batch["earliest"]),
            "pbx": batch["pbx"],
            "leaves": leaves,
            "previous": previous.hex(),
            "hash": batch["hash"].hex(),
        },
        "head": {"position": head["position"], "hash": head["hash"].hex()},
        "check": CHECK + (REDACTED if changes else "") + (MASKED if "masked" in shown else ""),
    }
    return answer({"event": shown, "proof": proof}, head["position"])


ROUTES = [web.get("/v1/ledger/events/{position:[^/]+}", require_permission("admin", event))]
