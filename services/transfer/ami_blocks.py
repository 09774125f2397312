"""A file of AMI blocks, block by block: the events that stand in it, and what is damaged."""

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from schemas.log import NewEvent
from services.asterisk.ami.framing import Framer
from services.asterisk.ami.protocol import LedgerProtocol
from services.transfer.asterisk_files import NUL, Damage, LinesError

READ = 1 << 16
ONCE = (b"Event", b"Privilege", b"ActionID")
"""Headers that a block has once. A cut within a line hides the next block's first one."""


def ami(path: Path, now: float, damage: Damage | None = None) -> Iterator[NewEvent]:
    """Yield the events of a file of AMI blocks, secrets masked. Raises LinesError if anything else stands in it.

    With ``damage``, a block that is none is left out and appended to it, with the number of its first line. Where a cut
    block has run into the next one, both are left out. An event without a time counts as recorded ``now``.
    """
    got: list[NewEvent] = []
    protocol, framer = LedgerProtocol(got.extend, lambda _: None), Framer()
    number = 1
    with path.open("rb") as file:
        while data := file.read(READ):
            for block in framer.feed(data):
                before = protocol.rejected_blocks
                fault = "" if damage is None else _fault(block)
                if not fault:
                    protocol.data_received(block)
                    fault = "it is no AMI block" if protocol.rejected_blocks > before else ""
                if fault and damage is None:
                    break
                if fault and damage is not None:
                    damage.append((number, fault))
                number += block.count(b"\n")
                for e in got:
                    yield replace(e, recorded=now if e.occurred is None else e.occurred)
                got.clear()
            if damage is None and (protocol.rejected_blocks or framer.overlong):
                break
    wrong = protocol.rejected_bytes + framer.overlong + len(framer.pending)
    if damage is None and wrong:
        raise LinesError(f"{path}: after {protocol.events} events there are {wrong} bytes that are no AMI block")
    if damage is not None and (left := framer.overlong + len(framer.pending)):
        damage.append((number, f"the last {left} bytes have no end of a block"))


def _fault(block: bytes) -> str:
    """Say why a block cannot be one that Asterisk wrote; empty if it can."""
    if b"\0" in block:
        return NUL
    names = [line.partition(b":")[0] for line in block.split(b"\r\n")]
    return "a block was cut, and runs into the next one" if any(names.count(name) > 1 for name in ONCE) else ""
