"""The seam to panoramisk: its protocol class, with reading, ordering and ending done our way.

What panoramisk 1.4 does and this must cure: it decodes each read alone, dropping letters that a read boundary splits;
it drops headers without a space after the colon; it keeps events that answer an action from everybody else; an error
in one message loses the rest of the read; unanswered actions are sent again after a reconnect. So this class takes
every read's bytes first, and panoramisk sees only what answers an action of ours.
"""

import time
from collections.abc import Callable
from typing import Any

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from schemas.log import Received
from services.ami.framing import HARMLESS, Framer, masked


class LinkLostError(Exception):
    """The link to the PBX is gone."""


Deliver = Callable[[Received], None]


class LedgerProtocol(AMIProtocol):
    """Hands every event block, and every reply to a snapshot's action, to ``deliver`` in wire order.

    ``heard`` is when bytes came last (seconds since the epoch); ``banner`` is Asterisk's greeting. Blocks that are
    neither events nor responses are counted in ``rejected_blocks`` and ``rejected_bytes``.
    """

    def __init__(self, deliver: Deliver, lost: Callable[[Exception | None], None]) -> None:
        self._deliver = deliver
        self._lost = lost
        self._framer = Framer()
        self._names: dict[bytes, str] = {}
        self.banner: str | None = None
        self.heard = time.time()
        self.events = 0
        self._rejected_blocks = 0
        self._rejected_bytes = 0

    @property
    def rejected_blocks(self) -> int:
        """Blocks that were no AMI."""
        return self._rejected_blocks

    @property
    def rejected_bytes(self) -> int:
        """Bytes in rejected blocks, and of streams without any end of block."""
        return self._rejected_bytes + self._framer.overlong

    def data_received(self, data: bytes) -> None:
        """Take one read. Never raises for what is in it."""
        self.heard = now = time.time()
        if self.banner is None:
            data = self._greet(data)
        for block in self._framer.feed(data):
            self._take(block, now)

    def _greet(self, data: bytes) -> bytes:
        line, end, rest = (self._framer.pending + data).partition(b"\r\n")
        if not end:
            self._framer.pending = line[-256:]
            return b""
        self._framer.pending = b""
        if line.startswith(b"Asterisk Call Manager"):
            self.banner = line.decode("utf-8", "replace").replace("\0", "\ufffd")
            return rest
        self.banner = ""
        return line + end + rest

    def _take(self, block: bytes, now: float) -> None:
        start = block if block[0] not in b"\r\n" else block.lstrip(b"\r\n")
        if start.startswith(b"Event:"):
            name = start[6 : start.find(b"\r\n")].strip()
            self.events += 1
            self._deliver(
                Received(
                    "ami",
                    self._names.get(name) or self._name(name),
                    occurred(block),
                    now,
                    block if name in HARMLESS else masked(block),
                ),
            )
            if (self.responses and b"\r\nActionID: " in block) or name == b"Shutdown":
                self._answer(start)
        elif start.startswith(b"Response:"):
            action = answered(start)
            if action is not None:
                self._deliver(Received("ami", f"Response:{action}", occurred(block), now, masked(block)))
            self._answer(start)
        else:
            self._rejected_blocks += 1
            self._rejected_bytes += len(block)

    def _name(self, raw: bytes) -> str:
        name = raw[:200].decode("utf-8", "replace").replace("\0", "\ufffd")
        if len(self._names) < 1000:
            self._names[raw] = name
        return name

    def _answer(self, block: bytes) -> None:
        message = Message.from_line(block.decode("utf-8", "replace").strip())
        if (
            message is not None
            and (action := self.responses.get(message.id)) is not None
            and action.add_message(message)
        ):
            del self.responses[message.id]

    def send(self, data: Action, as_list: Any = None) -> Any:  # noqa: ARG002 (the base class's signature)
        """Send an action. Raises ValueError when a value would start another line, LinkLostError without a link."""
        if any(c in f"{name}{value}" for name, value in data.items() for c in "\r\n\0"):
            raise ValueError("CR, LF and NUL cannot be part of an AMI action")
        if self.closed:
            raise LinkLostError
        self.responses[data.id] = data
        self.transport.write(str(data).encode())
        return data.future

    def connection_lost(self, exc: Exception | None) -> None:
        """End every waiting action with LinkLostError, and say so."""
        self.closed = True
        for action in self.responses.values():
            if not action.future.done():
                action.future.set_exception(LinkLostError())
                action.future.exception()  # nobody may be waiting for it any more
        self.responses.clear()
        self._lost(exc)

    def close(self) -> None:
        """Drop the link at once; a peer that does not answer is not waited for."""
        if not self.closed:
            self.transport.abort()


def occurred(block: bytes) -> float | None:
    """Return the block's Timestamp header (``timestampevents = yes``), None if absent or not a time."""
    at = block.find(b"\r\nTimestamp: ")
    if at < 0:
        return None
    try:
        when = float(block[at + 13 : block.find(b"\r\n", at + 13)])
    except ValueError:
        return None
    return when if 0 <= when < 1e10 else None


def answered(block: bytes) -> str | None:
    """Return the action that a response answers, if a snapshot of ours asked for it."""
    at = block.find(b"\r\nActionID: ringledger/")
    if at < 0:
        return None
    parts = block[at + 12 : block.find(b"\r\n", at + 12)].split(b"/")
    return parts[2].decode("ascii", "replace") if len(parts) > 2 else None
