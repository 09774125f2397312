"""The token that stands in the log for what was redacted: for one number always the same, and told by the key alone."""

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from services.runtime.private import make_data_folder

LENGTH = 12
# Letters only, none of them a hexadecimal digit: what looks for numbers, or for the end of a channel's name
# (PJSIP/100-0000001a), finds nothing in a token.
LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
TOKEN = rb"redacted-[g-v]{12}"


class KeyFileError(Exception):
    """The key can neither be read nor made; the message says why."""


def key_file(data: Path) -> Path:
    """Where the key stands. Whoever has it can test a guess at what a token stands for."""
    return data / "redaction-key"


def read_key(data: Path) -> bytes:
    """Return the key of this data directory; it is made once, mode 0600. Raises KeyFileError."""
    file = key_file(data)
    try:
        if not file.exists():
            make_data_folder(data)
            # Made whole under another name (mkstemp: mode 0600), then linked: of two processes at once one wins.
            descriptor, draft = tempfile.mkstemp(dir=data)
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(secrets.token_hex(32) + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
            Path(draft).unlink()
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != 32:
        raise KeyFileError(f"{file}: not a key of ours (64 hexadecimal digits)")
    return key


def token(key: bytes, kind: str, wanted: str) -> str:
    """Return what stands in place of ``wanted``: 48 bits of its HMAC-SHA-256."""
    digest = hmac.digest(key, f"{kind}\0{wanted}".encode(), "sha256")
    return "redacted-" + digest.hex()[:LENGTH].translate(LETTERS)
