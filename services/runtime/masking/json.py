"""Masks the secrets of JSON: ARI's messages, own events, rows of read models."""

import re

import msgspec

from schemas.secrets import MASK, is_secret
from services.runtime.masking.application import SECRET_WORDS, mask_application_data

MEMBER = re.compile(rb'("((?:[^"\\]|\\.)*+)"\s*:\s*)(?:"((?:[^"\\]|\\.)++)"|(-?\d{4,}+)(?=\s*[,}]))')
"""A member with a string, or with a number of four digits or more: a shorter one is a count or a flag."""
ASTERISKS = f'"{MASK}"'.encode()
APPLICATION = frozenset({"app_name", "application", "last_application"})
APPLICATION_DATA = frozenset({"app_data", "application_data", "last_data"})
"""Members of ARI's ``dialplan``, and columns of read models."""


def mask_json(raw: bytes) -> bytes:
    """Return JSON with the values of secret members masked.

    A variable's value is judged by the variable's name (ARI: ChannelVarset), an application's data as in AMI.
    """
    low = raw.lower()
    if not any(word in low for word in SECRET_WORDS):
        return raw
    variable = application = ""

    def member(match: re.Match[bytes]) -> bytes:
        nonlocal variable, application
        name, text = match[2].decode("utf-8", "replace"), match[3]
        if is_secret(name) or (name == "value" and is_secret(variable)):
            return match[1] + ASTERISKS
        if text is None:
            return match[0]
        if name == "variable":
            variable = text.decode("utf-8", "replace")
        elif name in APPLICATION:
            application = text.decode("utf-8", "replace")
        elif name in APPLICATION_DATA:
            try:
                data = msgspec.json.decode(b'"' + text + b'"', type=str)
            except ValueError:  # an invalid escape, whose text cannot be judged
                return match[1] + ASTERISKS
            if (masked := mask_application_data(application, data)) != data:
                return match[1] + msgspec.json.encode(masked)
        return match[0]

    return MEMBER.sub(member, raw)
