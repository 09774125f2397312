"""Reads a line of Master.csv (cdr_csv) as the Cdr event that cdr_manager sends of the same call."""

import csv
import io
import re
from typing import Any

HEADERS = (
    "AccountCode",
    "Source",
    "Destination",
    "DestinationContext",
    "CallerID",
    "Channel",
    "DestinationChannel",
    "LastApplication",
    "LastData",
    "StartTime",
    "AnswerTime",
    "EndTime",
    "Duration",
    "BillableSeconds",
    "Disposition",
    "AMAFlags",
)
NEW_COLUMNS = ("PeerAccount", "LinkedID", "Sequence")
"""Columns at the end of a line with ``newcdrcolumns = yes``."""
UNIQUE_ID = re.compile(r"(?:.+-)?\d{9,11}\.\d+")


def cdr_headers(text: str) -> dict[str, Any]:
    """Return the line's columns by the names of AMI headers, empty ones left out.

    Raises ValueError for a text that is not a line of Master.csv.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}") from None
    columns = rows[0] if len(rows) == 1 else []
    if not len(HEADERS) <= len(columns) <= len(HEADERS) + 2 + len(NEW_COLUMNS):
        raise ValueError(f"{len(columns)} columns, where Master.csv has 16 to 21")
    more = columns[len(HEADERS) :]
    headers = dict(zip(HEADERS, columns, strict=False))
    if len(more) >= len(NEW_COLUMNS):
        headers |= dict(zip(NEW_COLUMNS, more[-len(NEW_COLUMNS) :], strict=True))
        more = more[: -len(NEW_COLUMNS)]
    if len(more) == 1:  # either may be logged alone
        headers["UniqueID" if UNIQUE_ID.fullmatch(more[0]) else "UserField"] = more[0]
    else:
        headers |= dict(zip(("UniqueID", "UserField"), more, strict=False))
    return {name: value for name, value in headers.items() if value}
