"""Masks the secrets of lines of Asterisk's own files: Master.csv, CEL's csv, queue_log."""

import re

from schemas.secrets import STEMS
from services.runtime.masking.application import SECRET_ARGUMENT, masked_data, masked_pairs

SECRETS = tuple(stem.encode() for stem in (*STEMS, *SECRET_ARGUMENT))
FIELD = re.compile(r'"((?:[^"]|"")*+)"|([^,\r\n]++)')


def masked_line(source: str, raw: bytes) -> bytes:
    """Return a line of Master.csv, CEL's csv or queue_log without secrets: an application's data, ``name=value``."""
    low = raw.lower()
    if not any(word in low for word in SECRETS):
        return raw
    text = raw.decode("latin-1")
    if source == "queue_log":
        return "|".join(map(masked_pairs, text.split("|"))).encode("latin-1")
    before = ""

    def field(found: re.Match[str]) -> str:
        nonlocal before
        data = found[2] if found[1] is None else found[1].replace('""', '"')
        application, before = before, data
        shown = masked_data(application, data)
        if shown == data:
            return found[0]
        return shown if found[1] is None else '"' + shown.replace('"', '""') + '"'

    return FIELD.sub(field, text).encode("latin-1")
