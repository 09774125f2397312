"""Reads a line of a CEL csv (cel_custom) as the event CEL that cel_manager sends of the same moment."""

import csv
import io
from typing import Any

from schemas.cel_columns import HEADERS, layout


def cel_values(text: str) -> list[str]:
    """Return the values of a line. Raises ValueError for a text that is not one record of CSV."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None
    if len(rows) != 1:
        raise ValueError(f"not CSV: {len(rows)} records instead of one")
    return rows[0]


def cel_headers(text: str, columns: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the line's values by the names of AMI headers, empty ones left out, and all of them as ``_values``.

    Without ``columns`` the number of values shows the layout. If there is none of that length, only ``_values``
    is there. Raises ValueError as `cel_values` does.
    """
    values = cel_values(text)
    names = columns or layout(len(values)) or ()
    headers: dict[str, Any] = {
        HEADERS[name]: value for name, value in zip(names, values, strict=False) if value and name in HEADERS
    }
    headers["_values"] = values
    return headers
