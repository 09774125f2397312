"""Masks the secrets of JSON: ARI's messages, events of our own, rows of read models."""

import re

import msgspec

from schemas.secrets import MASK, STEMS, is_secret
from services.runtime.masking.application import SECRET_ARGUMENT, masked_data

MEMBER = re.compile(rb'("((?:[^"\\]|\\.)*+)"\s*:\s*)(?:"((?:[^"\\]|\\.)++)"|(-?\d{4,}+)(?=\s*[,}]))')
"""A member of JSON with a text, or with a number of four digits or more: fewer are a count or a flag."""
ASTERISKS = f'"{MASK}"'.encode()
SECRETS = tuple(stem.encode() for stem in (*STEMS, *SECRET_ARGUMENT))
APPLICATION = frozenset({"app_name", "application", "last_application"})
APPLICATION_DATA = frozenset({"app_data", "application_data", "last_data"})
"""Members of ARI's ``dialplan``, and columns of read models."""


def masked_json(raw: bytes) -> bytes:
    """Return JSON without the values of secret members.

    A variable's value counts by its name (ARI: ChannelVarset), an application's data as in AMI.
    """
    low = raw.lower()
    if not any(word in low for word in SECRETS):
        return raw
    variable = application = ""

    def member(found: re.Match[bytes]) -> bytes:
        nonlocal variable, application
        name, text = found[2].decode("utf-8", "replace"), found[3]
        if is_secret(name) or (name == "value" and is_secret(variable)):
            return found[1] + ASTERISKS
        if text is None:
            return found[0]
        if name == "variable":
            variable = text.decode("utf-8", "replace")
        elif name in APPLICATION:
            application = text.decode("utf-8", "replace")
        elif name in APPLICATION_DATA:
            try:
                data = msgspec.json.decode(b'"' + text + b'"', type=str)
            except ValueError:  # an escape that is none; what it hides cannot be judged
                return found[1] + ASTERISKS
            if (shown := masked_data(application, data)) != data:
                return found[1] + msgspec.json.encode(shown)
        return found[0]

    return MEMBER.sub(member, raw)
