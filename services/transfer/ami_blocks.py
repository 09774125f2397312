"""Reads a file of AMI blocks: its events, and its damage."""

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from schemas.log import NewEvent
from services.asterisk.ami.framing import Framer
from services.asterisk.ami.protocol import LedgerProtocol
from services.transfer.asterisk_files import NUL, AsteriskFileError, Damage

READ_BYTES = 1 << 16
UNIQUE_HEADERS = (b"Event", b"Privilege", b"ActionID")
"""Headers that a block has once. A cut within a line hides the first header of the next block."""


def read_blocks(path: Path, now: float, damage: Damage | None = None) -> Iterator[NewEvent]:
    """Yield the events of a file of AMI blocks, secrets masked. Raises AsteriskFileError for anything else in it.

    With ``damage``, an invalid block is skipped and appended to it, with the number of its first line. If a cut block
    runs into the next one, both are skipped. An event without a time counts as recorded ``now``.
    """
    events: list[NewEvent] = []
    protocol, framer = LedgerProtocol(events.extend, lambda _: None), Framer()
    number = 1
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            for block in framer.feed(data):
                before = protocol.rejected_blocks
                fault = "" if damage is None else _fault(block)
                if not fault:
                    protocol.data_received(block)
                    fault = "not an AMI block" if protocol.rejected_blocks > before else ""
                if fault and damage is None:
                    break
                if fault and damage is not None:
                    damage.append((number, fault))
                number += block.count(b"\n")
                for e in events:
                    yield replace(e, recorded=now if e.occurred is None else e.occurred)
                events.clear()
            if damage is None and (protocol.rejected_blocks or framer.overlong):
                break
    invalid = protocol.rejected_bytes + framer.overlong + len(framer.pending)
    if damage is None and invalid:
        raise AsteriskFileError(f"{path}: {invalid} bytes after {protocol.events} events are not an AMI block")
    if damage is not None and (left := framer.overlong + len(framer.pending)):
        damage.append((number, f"the last {left} bytes are not a complete block"))


def _fault(block: bytes) -> str:
    """Return why Asterisk cannot have written a block, or an empty string."""
    if b"\0" in block:
        return NUL
    names = [line.partition(b":")[0] for line in block.split(b"\r\n")]
    is_cut = any(names.count(name) > 1 for name in UNIQUE_HEADERS)
    return "a block was cut, and runs into the next one" if is_cut else ""
