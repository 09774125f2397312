"""Text that PostgreSQL can store: valid Unicode without NUL."""

import re

UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store a text: it has neither NUL nor a lone surrogate."""
    return UNSTORABLE.search(text) is None


def decode_text(raw: bytes) -> str:
    """Return UTF-8 as text, with U+FFFD for invalid bytes and NUL."""
    return replace_nul(raw.decode("utf-8", "replace"))


def replace_nul(text: str) -> str:
    """Return the text with U+FFFD for NUL."""
    return text.replace("\0", "\ufffd") if "\0" in text else text
