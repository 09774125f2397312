"""Password hashes, and the password of the first user."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from schemas.settings import Settings
from services.runtime.private import make_data_folder

# OWASP's minimum: 19 MiB, two passes. It takes about 25 ms; simultaneous logins do not exhaust the memory.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

UNKNOWN_USER_HASH = HASHER.hash(secrets.token_urlsafe())
"""The hash of a random password: refusing an unknown user takes as long as refusing a wrong password."""


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
