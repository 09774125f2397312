"""The names whose values are secrets, and the mask that replaces such a value everywhere."""

import re
from functools import lru_cache

MASK = "********"

STEMS = ("pass", "secret", "md5", "cred", "challenge", "token", "hash", "pwd", "cookie", "authorization", "key", "pin")
"""Each secret name contains one of these in lower case: a text without them holds no secret name."""

SECRET = re.compile(
    r"pass(?:word|wd|phrase|code|key)|(?<!by)(?<!com)(?<!sur)(?<!over)pass(?!through|thru|eng|port|ive|ed|ing|ion)"
    r"|credential|(?<!sa)cred(?!ib|it(?![ _-]?card))"
    r"|secret|md5|challenge|token|hash|pwd|cookie|authorization"
    r"|(?:access|aes|api|auth|crypto|encryption|master|priv|private|session|shared|signing|ssh)[ _-]?key"
    r"|pin[ _-]?(?:code|number)|(?<!s)pin$"
)
HASH_FUNCTION = re.compile(r"\A_*(?:hash\(|~hash~)")
"""The dialplan function HASH stores any value by two names; its variable is ``~HASH~row~column~`` (func_strings.c)."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

MAX_CACHED_LENGTH = 200
"""Longer names are not cached: they come from outside, and the cache must stay small."""
NOT_SECRET = frozenset(
    {
        "password_in",  # our own log: the path of a file
        "usingpassword",  # SuccessfulAuth: 0 or 1
        "dtlsprivatekey",  # EndpointDetail: the path of a file
        "dtls_private_key",
        "privkeyfile",  # TransportDetail: the path of a file
        "priv_key_file",
        "tlsprivatekey",
        "publickey",
        "public_key",
    }
)


def is_secret(name: str) -> bool:
    """Return whether this name of an AMI header, channel variable, JSON member or option has a secret value.

    Words of a name are separated by anything but letters, or by capitals: ``DB_PASSWORD``, ``AuthKey``, ``PJSIP_HEADER(
    add,Authorization)``. ``pin`` counts as a whole word, ``key`` as the last one, so ``Ping`` and ``KeyName`` are not
    secret.
    """
    return _remembered(name) if len(name) <= MAX_CACHED_LENGTH else _matches(name)


def _matches(name: str) -> bool:
    low = name.strip().lower()
    if not any(stem in low for stem in STEMS) or low in NOT_SECRET:
        return False
    if SECRET.search(HASH_FUNCTION.sub("", low)):
        return True
    words = [word.lower() for word in WORD.findall(name)]
    return "pin" in words or words[-1:] == ["key"]


@lru_cache(maxsize=8192)
def _remembered(name: str) -> bool:
    return _matches(name)
