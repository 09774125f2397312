"""Masks the secrets of events of any source in place; all other bytes stay. The names are in `schemas.secrets`."""

from services.runtime.masking import ami
from services.runtime.masking.json import mask_json
from services.runtime.masking.lines import mask_line


def mask_event(source: str, raw: bytes) -> bytes:
    """Return an event of the log for display: an older log may hold secrets that new events mask."""
    if source == "ami":
        return ami.mask_block(raw)
    if source in {"ari", "ringledger"}:
        return mask_json(raw)
    return mask_line(source, raw)
