"""Masks the secrets of an event of any source, in place: all other bytes stay. `schemas.secrets` has the names."""

from services.runtime.masking import ami
from services.runtime.masking.json import masked_json
from services.runtime.masking.lines import masked_line


def masked(source: str, raw: bytes) -> bytes:
    """Return an event of the log as it may be shown; an older log may hold secrets that are masked today."""
    if source == "ami":
        return ami.masked(raw)
    if source in {"ari", "ringledger"}:
        return masked_json(raw)
    return masked_line(source, raw)
