"""Headers of one AMI block, read from its bytes."""

from typing import Any

from panoramisk.message import Message

from projections.engine.headers import pairs
from schemas.log import MAX_EXACT_SECONDS
from schemas.text import decode_text

SNAPSHOT_PREFIX = "ringledger"
"""First part of the ActionIDs of a snapshot: ``ringledger/<epoch>/<action>[/<number or name>]``."""
MAX_ACTION_LENGTH = 200


def occurred(block: bytes) -> float | None:
    """Return the Timestamp header (``timestampevents = yes``), None if it is absent or not a time."""
    at = block.find(b"\r\nTimestamp: ")
    if at < 0:
        return None
    try:
        when = float(block[at + 13 : block.find(b"\r\n", at + 13)])
    except ValueError:
        return None
    return when if 0 <= when < MAX_EXACT_SECONDS else None


def action_id(block: bytes) -> str:
    """Return the ActionID header, empty without one."""
    at = block.find(b"\r\nActionID:")
    return decode_text(block[at + 11 : block.find(b"\r\n", at + 11)].strip()) if at >= 0 else ""


def snapshot_action(block: bytes) -> str | None:
    """Return the action that a response belongs to if a snapshot sent it, otherwise None."""
    parts = action_id(block).split("/")
    return parts[2][:MAX_ACTION_LENGTH] if len(parts) > 2 and parts[0] == SNAPSHOT_PREFIX else None


def message(block: bytes) -> Message:
    """Return the block as panoramisk's Message with every header; repeated headers become a list."""
    headers: dict[str, Any] = {}
    for name, value in pairs(block.decode("utf-8", "replace")):
        if value is None:
            continue
        if name not in headers:
            headers[name] = value
        elif isinstance(headers[name], list):
            headers[name].append(value)
        else:
            headers[name] = [headers[name], value]
    return Message(headers)
