"""Password hashes, and the password of the first user."""

import base64
import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from schemas.settings import Settings
from services.runtime.private import make_data_folder

# OWASP's minimum: 19 MiB, two passes. It takes about 25 ms; simultaneous logins do not exhaust the memory.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


def _random_hash() -> str:
    """Return a hash of no known password without the 25 ms of the CPU that a computed one takes."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (HASHER.salt_len, HASHER.hash_len)
    )
    parameters = f"m={HASHER.memory_cost},t={HASHER.time_cost},p={HASHER.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${parameters}${salt}${digest}"


UNKNOWN_USER_HASH = _random_hash()
"""Refusing an unknown user takes as long as refusing a wrong password. No process hashes a password to start."""


def hash_password(password: str) -> str:
    """Return the salted argon2id hash; takes about 25 ms of the CPU."""
    return HASHER.hash(password)


def matches(password_hash: str, password: str) -> bool:
    """Return whether the password belongs to the hash; takes about 25 ms of the CPU, without the GIL."""
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def password_file(settings: Settings) -> Path:
    """Return the file of the first user's password, for settings without one."""
    return settings.data / "admin-password"


def admin_password(settings: Settings) -> str:
    """Return the password of the first user ``admin``: from the settings or from `password_file`, created once.

    Raises OSError if the file can neither be read nor created.
    """
    if settings.admin_password:
        return settings.admin_password
    file = password_file(settings)
    if not file.exists():
        make_data_folder(file.parent)
        # Written under another name (mkstemp: mode 0600), then linked: one of two simultaneous processes wins.
        descriptor, draft = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(secrets.token_urlsafe(12) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        Path(draft).unlink()
    return file.read_text(encoding="utf-8").strip()
