"""No secret is shown, not even the hash of one, though the log must hold those of passwords."""

import re

SECRET = re.compile(
    rb'(?i)("[^"\\]*(?:pass|secret|md5|cred|challenge|token|hash)[^"\\]*"\s*:\s*")((?:[^"\\]|\\.)+)(?=")'
)


def masked(json: bytes) -> bytes:
    """Return JSON with the values of secret members replaced by eight asterisks."""
    return SECRET.sub(rb"\g<1>********", json)
