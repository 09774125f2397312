"""Reads a line of queue_log."""

from typing import Any

COLUMNS = ("Time", "CallID", "Queue", "Agent", "Event")


def queue_log_headers(text: str) -> dict[str, Any]:
    """Return the first five columns of a line by name, and the others as the list ``Data``.

    NONE, which Asterisk writes for an absent call, queue or agent, is left out. Raises ValueError for a text that is
    not a line of queue_log.
    """
    columns = text.rstrip("\r\n").split("|")
    if len(columns) < len(COLUMNS) or not columns[4]:
        raise ValueError("the first columns must be time|call|queue|agent|event")
    headers: dict[str, Any] = {
        name: value for name, value in zip(COLUMNS, columns, strict=False) if value and value != "NONE"
    }
    headers["Event"] = columns[4]
    headers["Data"] = columns[5:]
    return headers
