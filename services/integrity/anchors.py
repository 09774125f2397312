"""Anchors: heads of the log, signed, to be kept where nobody who can write the database can write.

A chain proves that nothing was changed in the middle of it; whoever may write the database can still compute the end of
it anew. An anchor holds what the end was. The file has one JSON object a line, and each has all that is needed to check
its signature. The key is made once, in RINGLEDGER_DATA, and never leaves it.
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

from services.integrity.chain_walk import Verified
from services.integrity.damage import DamageError
from services.integrity.verify import audit
from services.log.chain import ZERO_LINK
from services.log.times import rfc3339
from services.runtime.private import make_data_folder, open_private

KEY = "anchor-key"


class AnchorError(Exception):
    """The file or the key cannot be used; the message is one line."""


class Anchor(Struct, frozen=True, forbid_unknown_fields=True):
    """One signed head; ``hash``, ``public_key`` and ``signature`` (Ed25519) are hexadecimal, ``when`` RFC 3339."""

    position: int
    hash: str
    when: str
    public_key: str
    signature: str

    def signed(self) -> bytes:
        """Return what the signature is of."""
        return f"ringledger head {self.position} {self.hash} {self.when}".encode()


def read(file: Path) -> list[Anchor]:
    """Return all anchors of ``file``, none if it does not exist. Raises AnchorError if one is not what was signed."""
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
            key.verify(bytes.fromhex(anchor.signature), anchor.signed())
            if len(bytes.fromhex(anchor.hash)) != len(ZERO_LINK) or anchor.position < 0:
                raise ValueError("this is no head")  # noqa: TRY301 (said with the line's number below)
        except InvalidSignature:
            raise AnchorError(f"{file}: line {number}: the signature does not fit") from None
        except (ValueError, msgspec.MsgspecError) as error:
            raise AnchorError(f"{file}: line {number} is damaged: {error}") from None
        anchors.append(anchor)
    if not anchors:
        raise AnchorError(f"{file} is empty")
    if len({anchor.public_key for anchor in anchors}) > 1:
        raise AnchorError(f"{file}: its lines are signed with different keys")
    return anchors


def key_in(data: Path) -> Ed25519PrivateKey | None:
    """Return the key that stands in ``data``, if one does. Raises AnchorError."""
    file = data / KEY
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AnchorError(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise AnchorError(f"{file} is no Ed25519 key")
    return key


def make_key(data: Path) -> Ed25519PrivateKey:
    """Make a key in ``data``, readable for its owner only; if another process was first, return its key."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        make_data_folder(data)
        # Written beside its place: under its name it is whole or not there.
        new = data / f"{KEY}.{secrets.token_hex(4)}"
        with open_private(new, "xb") as out:
            out.write(pem)
        with contextlib.suppress(FileExistsError):
            os.link(new, data / KEY)
        new.unlink()
    except OSError as error:
        raise AnchorError(f"{data / KEY}: {error.strerror}") from None
    key = key_in(data)
    assert key is not None
    return key


def sign(key: Ed25519PrivateKey, position: int, hash_: bytes) -> Anchor:
    """Sign a head now."""
    when = rfc3339(datetime.now(UTC), "seconds")
    anchor = Anchor(position, hash_.hex(), when, key.public_key().public_bytes_raw().hex(), "")
    return msgspec.structs.replace(anchor, signature=key.sign(anchor.signed()).hex())


def check(anchors: list[Anchor], verified: Verified) -> int:
    """Raise DamageError if the log does not hold what the anchors say it held.

    Return how many could not be checked, for they stand in archived months whose files were not given.
    """
    good = unknown = 0
    for anchor in sorted(anchors, key=lambda a: a.position):
        said = f"the anchor of {anchor.when}"
        if anchor.position > verified.end.position:
            first = verified.end.position + 1
            raise DamageError("missing", "event", first, f"{said} is of position {anchor.position}", anchor.position)
        there = verified.hashes.get(anchor.position)
        if there is None and not verified.reaches(anchor.position):
            unknown += 1
            continue
        if there is None or there.hex() != anchor.hash:
            holds = f"hash {there.hex()[:16]}" if there else "no end of a batch"
            why = f"{said} has hash {anchor.hash[:16]} at {anchor.position}, the log {holds}"
            raise DamageError("rewritten", "event", good + 1, why, anchor.position)
        good = anchor.position
    return unknown


async def anchored(url: str, file: Path, data: Path, archived: Sequence[Path] = ()) -> tuple[Verified, str]:
    """Verify the log and ``archived`` files, against ``file`` too if it exists; then add the head to it.

    Return what was done in words.

    Without a key in ``data`` a file that exists is checked and left alone: whoever audits need not be able to sign.
    Raises AnchorError before anything is done, DamageError, and what `audit` raises.
    """
    anchors, key = read(file), key_in(data)
    if key is not None and any(key.public_key().public_bytes_raw().hex() != a.public_key for a in anchors):
        raise AnchorError(f"{file} is signed with another key than {data / KEY}")
    if not file.parent.is_dir():
        raise AnchorError(f"{file.parent} is no folder")
    verified = await audit(url, {anchor.position for anchor in anchors}, archived)
    unknown = check(anchors, verified)
    good = len(anchors) - unknown
    held = f"1 anchor of {file} holds" if good == 1 else f"{good} anchors of {file} hold"
    if unknown:
        held += f" ({unknown} of archived months not checked: give their files to --archive)"
    if key is None and anchors:
        return verified, f"{held}; none added, for there is no key in {data}"
    anchor = sign(key or make_key(data), verified.end.position, verified.end.hash)
    _write(file, [*anchors, anchor])
    return verified, f"{held}, and this one is added" if anchors else f"anchor written to {file}"


def _write(file: Path, anchors: list[Anchor]) -> None:
    # Whole or not at all: a line that a crash cut in two would be a damaged file for ever.
    new = file.with_name(f"{file.name}.new")
    try:
        with open_private(new, "wb") as out:
            out.write(b"".join(msgspec.json.encode(anchor) + b"\n" for anchor in anchors))
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except OSError as error:
        raise AnchorError(f"{file}: {error.strerror}") from None
