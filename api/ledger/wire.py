"""How an event is told: what the log knows of it, its headers, and its bytes."""

import base64
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from api.http.query import stamp
from api.ledger.value_match import UNREADABLE_JSON, fields
from services.runtime.masking import masked


def event_json(row: asyncpg.Record) -> dict[str, Any]:
    """Return an event of the log with all that is known of it.

    ``headers`` of AMI are pairs in the order of the wire, repeated ones too (None for a line without a colon); for ARI
    and events of our own they are the JSON, for a line that was imported its fields. Bytes that are no UTF-8 are
    replaced there, but not in ``raw``, which is base64 then. Secrets are masked: hashes of passwords and tokens in our
    own events, and what an older listener has left in clear. Such an event is marked, for its leaf can then be computed
    from the database only.
    """
    raw: bytes = row["raw"]
    told = masked(row["source"], raw)
    try:
        text, encoding = told.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(told).decode(), "base64"
    return {
        "position": row["position"],
        "pbx": row["pbx"],
        "connection": row["connection"],
        "ordinal": row["ordinal"],
        "source": row["source"],
        "name": row["name"],
        "occurred": stamp(row["occurred"]),
        "recorded": stamp(row["recorded"]),
        "appended": stamp(row["appended"]),
        "headers": _headers(row["source"], told),
        "raw": text,
        "encoding": encoding,
        **({"masked": True} if told != raw else {}),
    }


def event_ref(row: asyncpg.Record) -> dict[str, Any]:
    """Return where an event stands, and what and when it was."""
    return {
        "position": row["position"],
        "pbx": row["pbx"],
        "source": row["source"],
        "name": row["name"],
        "occurred": stamp(row["occurred"]),
        "recorded": stamp(row["recorded"]),
    }


def _headers(source: str, raw: bytes) -> Any:
    if source in {"ari", "ringledger"}:
        try:
            msgspec.json.decode(raw)
        except UNREADABLE_JSON:
            return None
        # Repeated members and their order stay; ari.conf's pretty=yes must not break a line in two.
        return msgspec.Raw(msgspec.json.format(raw, indent=-1))
    text = raw.decode("utf-8", "replace")
    if source == "ami":
        return [_pair(line) for line in text.split("\r\n") if line]
    return fields(source, text)


def _pair(line: str) -> Sequence[str | None]:
    pair = line.split(": ", 1)
    if len(pair) == 2 and ":" not in pair[0]:
        return pair
    name, colon, value = line.partition(":")
    return name, value if colon else None
