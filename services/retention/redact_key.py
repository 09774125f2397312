"""The key and the tokens of redactions: one number always has the same token, which only the key can confirm."""

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from services.runtime.private import make_data_folder

TOKEN_LETTERS = 12
# Letters only, and none of them a hexadecimal digit: a token then matches neither a search for numbers nor the end of
# a channel name (PJSIP/100-0000001a).
LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
TOKEN = rb"redacted-[g-v]{12}"


class KeyFileError(Exception):
    """The key can be neither read nor created; the message gives the reason."""


def key_path(data: Path) -> Path:
    """Return the path of the key. Its holder can test whether a token stands for a given number."""
    return data / "redaction-key"


def read_key(data: Path) -> bytes:
    """Return the key of this data directory; the first call creates it with mode 0600. Raises KeyFileError."""
    path = key_path(data)
    try:
        if not path.exists():
            make_data_folder(data)
            # Written under another name (mkstemp: mode 0600), then linked: of two processes one wins.
            descriptor, draft = tempfile.mkstemp(dir=data)
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(secrets.token_hex(32) + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            Path(draft).unlink()
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != 32:
        raise KeyFileError(f"{path}: not a redaction key (64 hexadecimal digits)")
    return key


def token_of(key: bytes, kind: str, text: str) -> str:
    """Return the token of a number or text: 48 bits of its HMAC-SHA-256."""
    digest = hmac.digest(key, f"{kind}\0{text}".encode(), "sha256")
    return "redacted-" + digest.hex()[:TOKEN_LETTERS].translate(LETTERS)
