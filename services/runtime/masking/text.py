"""Masks secrets in what the processes write about themselves: lines of their logs, and errors for people."""

import re
from typing import Any

from schemas.secrets import MASK, is_secret

# A password that is not percent-encoded may hold anything but space: it reaches to the last @.
# The settings' own explanation says user:secret@host.
CREDENTIALS = re.compile(r"(?<=://)([^\s:@/]*:)(?!secret@)\S+(?=@)")
AUTHORIZATION = re.compile(r"\b(Basic|Bearer)\s+[\w+/=.~-]{8,}", re.IGNORECASE)
PARAMETER = re.compile(r"(?<![^\s?&;,\"'(\[{])([\w.-]++)=([^\s&;,\"')\]}]++)")


def masked_text(text: str) -> str:
    """Return text without credentials in URLs, Authorization's values, and values of secret names (``name=value``)."""
    text = CREDENTIALS.sub(rf"\g<1>{MASK}", text) if "://" in text else text
    text = AUTHORIZATION.sub(rf"\g<1> {MASK}", text)
    return PARAMETER.sub(lambda found: f"{found[1]}={MASK}" if is_secret(found[1]) else found[0], text)


def masked_value(name: str, value: Any) -> Any:
    """Return the value of this name without secrets, however deep they are in it."""
    if isinstance(value, str):
        return MASK if value and is_secret(name) else masked_text(value)
    if isinstance(value, dict):
        return {key: masked_value(str(key), inner) for key, inner in value.items()}
    if type(value) in {list, tuple}:
        return [masked_value(name, inner) for inner in value]
    return value
