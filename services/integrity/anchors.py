"""Anchors: signed heads of the log, for a place that the writers of the database cannot write.

The chain proves that nothing was changed in its middle, but a writer of the database can recompute its end. An anchor
records what the end was. The file has one JSON object per line, each with all data to check its signature. The key is
created once in RINGLEDGER_DATA and never leaves it.
"""

import contextlib
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Struct

from services.integrity.chain_walk import Verification
from services.integrity.damage import DamageError
from services.integrity.verify import verify_log
from services.log.chain import ZERO_LINK
from services.log.times import rfc3339
from services.runtime.private import make_data_folder, open_private

KEY_FILE = "anchor-key"


class AnchorError(Exception):
    """The file or the key cannot be used; the message is one line."""


class Anchor(Struct, frozen=True, forbid_unknown_fields=True):
    """One signed head; ``hash``, ``public_key`` and ``signature`` (Ed25519) are hexadecimal, ``when`` RFC 3339."""

    position: int
    hash: str
    when: str
    public_key: str
    signature: str

    def signed_text(self) -> bytes:
        """Return the bytes that the signature covers."""
        return f"ringledger head {self.position} {self.hash} {self.when}".encode()


def read_anchors(file: Path) -> list[Anchor]:
    """Return all anchors of ``file``, none if it does not exist. Raises AnchorError for an invalid line."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AnchorError(f"{file}: {error.strerror}") from None
    anchors: list[Anchor] = []
    for number, line in enumerate(lines, 1):
        try:
            anchor = msgspec.json.decode(line, type=Anchor)
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(anchor.public_key))
            key.verify(bytes.fromhex(anchor.signature), anchor.signed_text())
            if len(bytes.fromhex(anchor.hash)) != len(ZERO_LINK) or anchor.position < 0:
                raise ValueError("not a head of a log")  # noqa: TRY301 (the handler below adds the line number)
        except InvalidSignature:
            raise AnchorError(f"{file}: line {number}: the signature is invalid") from None
        except (ValueError, msgspec.MsgspecError) as error:
            raise AnchorError(f"{file}: line {number} is damaged: {error}") from None
        anchors.append(anchor)
    if not anchors:
        raise AnchorError(f"{file} is empty")
    if len({anchor.public_key for anchor in anchors}) > 1:
        raise AnchorError(f"{file}: its lines are signed with different keys")
    return anchors


def read_key(data: Path) -> Ed25519PrivateKey | None:
    """Return the key in ``data``, if there is one. Raises AnchorError."""
    file = data / KEY_FILE
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AnchorError(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise AnchorError(f"{file} is not an Ed25519 key")
    return key


def create_key(data: Path) -> Ed25519PrivateKey:
    """Create a key in ``data`` that only its owner can read; if another process was first, return its key."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        make_data_folder(data)
        # Written under another name: under its own name it is complete or absent.
        draft = data / f"{KEY_FILE}.{secrets.token_hex(4)}"
        with open_private(draft, "xb") as out:
            out.write(pem)
        with contextlib.suppress(FileExistsError):
            os.link(draft, data / KEY_FILE)
        draft.unlink()
    except OSError as error:
        raise AnchorError(f"{data / KEY_FILE}: {error.strerror}") from None
    key = read_key(data)
    assert key is not None
    return key


def sign(key: Ed25519PrivateKey, position: int, hash_: bytes) -> Anchor:
    """Return a head signed now."""
    when = rfc3339(datetime.now(UTC), "seconds")
    anchor = Anchor(position, hash_.hex(), when, key.public_key().public_bytes_raw().hex(), "")
    return msgspec.structs.replace(anchor, signature=key.sign(anchor.signed_text()).hex())


def check_anchors(anchors: list[Anchor], verification: Verification) -> int:
    """Compare anchors with the verified log. Raises DamageError.

    Return how many anchors could not be checked, because they are in archived months whose files were not given.
    """
    last_match = unchecked = 0
    for anchor in sorted(anchors, key=lambda a: a.position):
        name = f"the anchor of {anchor.when}"
        if anchor.position > verification.end.position:
            first = verification.end.position + 1
            raise DamageError("missing", "event", first, f"{name} has position {anchor.position}", anchor.position)
        link = verification.hashes.get(anchor.position)
        if link is None and not verification.covers(anchor.position):
            unchecked += 1
            continue
        if link is None or link.hex() != anchor.hash:
            present = f"hash {link.hex()[:16]}" if link else "no end of a batch"
            reason = f"{name} has hash {anchor.hash[:16]} at {anchor.position}, the log has {present}"
            raise DamageError("rewritten", "event", last_match + 1, reason, anchor.position)
        last_match = anchor.position
    return unchecked


async def verify_with_anchors(
    url: str, file: Path, data: Path, archived: Sequence[Path] = ()
) -> tuple[Verification, str]:
    """Verify the log, ``archived`` files and the anchors in ``file``; then add the head of the log to ``file``.

    Return also one line about the anchors. Without a key in ``data`` an existing file is checked and not changed, since
    an auditor need not be able to sign. Raises AnchorError before anything else, DamageError, and the errors of
    `verify_log`.
    """
    anchors, key = read_anchors(file), read_key(data)
    if key is not None and any(key.public_key().public_bytes_raw().hex() != a.public_key for a in anchors):
        raise AnchorError(f"{file} is signed with another key than {data / KEY_FILE}")
    if not file.parent.is_dir():
        raise AnchorError(f"{file.parent} is not a folder")
    verification = await verify_log(url, {anchor.position for anchor in anchors}, archived)
    unchecked = check_anchors(anchors, verification)
    matching = len(anchors) - unchecked
    line = f"1 anchor of {file} matches" if matching == 1 else f"{matching} anchors of {file} match"
    if unchecked:
        line += f" ({unchecked} of archived months not checked: pass their files with --archive)"
    if key is None and anchors:
        return verification, f"{line}; none was added, because {data} has no key"
    anchor = sign(key or create_key(data), verification.end.position, verification.end.hash)
    _write(file, [*anchors, anchor])
    return verification, f"{line}, and one was added" if anchors else f"anchor written to {file}"


def _write(file: Path, anchors: list[Anchor]) -> None:
    # Replaced as a whole: a line cut by a crash would damage the file permanently.
    draft = file.with_name(f"{file.name}.new")
    try:
        with open_private(draft, "wb") as out:
            out.write(b"".join(msgspec.json.encode(anchor) + b"\n" for anchor in anchors))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        raise AnchorError(f"{file}: {error.strerror}") from None
