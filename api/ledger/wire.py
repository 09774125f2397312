"""An event as JSON: its columns, its headers, and its bytes."""

import base64
from typing import Any

import asyncpg
import msgspec

from api.ledger.value_match import UNREADABLE_JSON, fields
from projections.engine.headers import pairs
from services.log.times import rfc3339_microseconds
from services.runtime.masking import mask_event


def event_json(row: asyncpg.Record) -> dict[str, Any]:
    """Return an event with all columns of the log.

    ``headers`` of AMI are pairs in the order of the wire, with repeated ones; a line without a colon has None. For ARI
    and Ringledger's own events they are the JSON, for an imported line its fields. Bytes that are not UTF-8 are
    replaced there, but not in ``raw``, which is base64 then. Secrets are masked: hashes of passwords and
    tokens, and secrets that an older listener wrote in clear. Such an event is marked, because its leaf can only be
    computed from the database.
    """
    raw: bytes = row["raw"]
    shown = mask_event(row["source"], raw)
    try:
        text, encoding = shown.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(shown).decode(), "base64"
    return {
        "position": row["position"],
        "pbx": row["pbx"],
        "connection": row["connection"],
        "ordinal": row["ordinal"],
        "source": row["source"],
        "name": row["name"],
        "occurred": rfc3339_microseconds(row["occurred"]),
        "recorded": rfc3339_microseconds(row["recorded"]),
        "appended": rfc3339_microseconds(row["appended"]),
        "headers": _headers(row["source"], shown),
        "raw": text,
        "encoding": encoding,
        **({"masked": True} if shown != raw else {}),
    }


def event_ref(row: asyncpg.Record) -> dict[str, Any]:
    """Return the position, the name and the times of an event."""
    return {
        "position": row["position"],
        "pbx": row["pbx"],
        "source": row["source"],
        "name": row["name"],
        "occurred": rfc3339_microseconds(row["occurred"]),
        "recorded": rfc3339_microseconds(row["recorded"]),
    }


def _headers(source: str, raw: bytes) -> Any:
    if source in {"ari", "ringledger"}:
        try:
            msgspec.json.decode(raw)
        except UNREADABLE_JSON:
            return None
        # This keeps repeated members and their order; ari.conf's pretty=yes must not break a line in two.
        return msgspec.Raw(msgspec.json.format(raw, indent=-1))
    text = raw.decode("utf-8", "replace")
    if source == "ami":
        return list(pairs(text))
    return fields(source, text)
