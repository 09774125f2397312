"""Masks secrets in log lines and error messages of Ringledger's processes."""

import re
from typing import Any

from schemas.secrets import MASK, is_secret

# A password that is not percent-encoded may hold any character but a space, and ends at the last @.
# The help of the settings has user:secret@host.
CREDENTIALS = re.compile(r"(?<=://)([^\s:@/]*:)(?!secret@)\S+(?=@)")
AUTHORIZATION = re.compile(r"\b(Basic|Bearer)\s+[\w+/=.~-]{8,}", re.IGNORECASE)
PARAMETER = re.compile(r"(?<![^\s?&;,\"'(\[{])([\w.-]++)=([^\s&;,\"')\]}]++)")


def mask_text(text: str) -> str:
    """Return text with masked credentials in URLs, Authorization headers and ``name=value`` of secret names."""
    text = CREDENTIALS.sub(rf"\g<1>{MASK}", text) if "://" in text else text
    text = AUTHORIZATION.sub(rf"\g<1> {MASK}", text)
    return PARAMETER.sub(lambda match: f"{match[1]}={MASK}" if is_secret(match[1]) else match[0], text)


def mask_value(name: str, value: Any) -> Any:
    """Return the value of this name with secrets masked at any depth."""
    if isinstance(value, str):
        return MASK if value and is_secret(name) else mask_text(value)
    if isinstance(value, dict):
        return {key: mask_value(str(key), inner) for key, inner in value.items()}
    if type(value) in {list, tuple}:
        return [mask_value(name, inner) for inner in value]
    return value
