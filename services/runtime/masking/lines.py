"""Masks the secrets in lines of Asterisk's files: Master.csv, CEL's CSV, queue_log."""

import re

from services.runtime.masking.application import SECRET_WORDS, mask_application_data, mask_pairs

FIELD = re.compile(r'"((?:[^"]|"")*+)"|([^,\r\n]++)')


def mask_line(source: str, raw: bytes) -> bytes:
    """Return a line with secrets masked, those in an application's data and in ``name=value``."""
    low = raw.lower()
    if not any(word in low for word in SECRET_WORDS):
        return raw
    text = raw.decode("latin-1")
    if source == "queue_log":
        return "|".join(map(mask_pairs, text.split("|"))).encode("latin-1")
    before = ""

    def field(match: re.Match[str]) -> str:
        nonlocal before
        data = match[2] if match[1] is None else match[1].replace('""', '"')
        application, before = before, data
        masked = mask_application_data(application, data)
        if masked == data:
            return match[0]
        return masked if match[1] is None else '"' + masked.replace('"', '""') + '"'

    return FIELD.sub(field, text).encode("latin-1")
