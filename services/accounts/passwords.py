"""Passwords: how they are kept, and where the first one comes from."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from schemas.settings import Settings
from services.runtime.private import make_data_folder

# OWASP's least: 19 MiB, two passes. About 25 ms, and logins at once do not exhaust the process's memory.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)

NOBODY = HASHER.hash(secrets.token_urlsafe())
"""The hash of a password that nobody has: an unknown user takes as long to refuse as a wrong password."""


def hash_password(password: str) -> str:
    """Return the argon2id hash, salted; takes about 25 ms of the CPU."""
    return HASHER.hash(password)


def matches(password_hash: str, password: str) -> bool:
    """Tell whether the password belongs to the hash; takes about 25 ms of the CPU (no lock is held then)."""
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def password_file(settings: Settings) -> Path:
    """Where the first user's password stands when the settings do not give one."""
    return settings.data / "admin-password"


def admin_password(settings: Settings) -> str:
    """Return the password of the first user ``admin``: the settings', or one made once and kept in `password_file`.

    Raises OSError if the file can neither be read nor written.
    """
    if settings.admin_password:
        return settings.admin_password
    file = password_file(settings)
    if not file.exists():
        make_data_folder(file.parent)
        # Made whole under another name (mkstemp: mode 0600), then linked: of two processes at once one wins.
        descriptor, draft = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(secrets.token_urlsafe(12) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        Path(draft).unlink()
    return file.read_text(encoding="utf-8").strip()
