"""The seam to panoramisk: its protocol class, with our own reading, ordering and closing.

panoramisk 1.4 has these faults, which this class avoids. It decodes each read alone and drops letters that a read
boundary splits. It drops headers without a space after the colon, and an empty last one. It withholds events that
belong to an answer from every other consumer. An error in one message loses the rest of the read. It sends unanswered
actions again after a reconnect. So this class handles the bytes first, and panoramisk gets only answers to our actions.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from panoramisk.ami_protocol import AMIProtocol

from schemas.log import NewEvent
from schemas.text import decode_text
from services.asterisk.ami.answers import Answers
from services.asterisk.ami.blocks import action_id, occurred, snapshot_action
from services.asterisk.ami.framing import Framer
from services.asterisk.ami.pending_action import PendingAction
from services.runtime.masking.ami import mask_block, masker_of

BANNER = b"Asterisk Call Manager"
MAX_BANNER_BYTES = 256
LARGE_READ_BYTES = 1 << 17
PAUSE_SECONDS = 0.001
LONG_PAUSE_SECONDS = 0.003
"""After a large read, reading pauses so long. 60 MB/s can still be read, or 30 with the long pause."""

MAX_CACHED_NAMES = 1000
MAX_NAME_BYTES = 200

NEVER_ANSWERS = frozenset({"UserEvent", "OriginateResponse"})
"""Live events with the ActionID of the session that caused them: never a part of an answer."""

logger = structlog.get_logger()


class LinkLostError(Exception):
    """The link to the PBX is lost."""


Deliver = Callable[[list[NewEvent]], None]


class LedgerProtocol(AMIProtocol):
    """Hands every event block, and every reply to a snapshot's action, to ``deliver`` in wire order.

    ``deliver`` gets the events of one read together, and before an answer is handled all events in front of it.

    ``banner`` is Asterisk's greeting. ``received_at`` is the time of the last bytes (seconds since the epoch),
    ``read_at`` the same by the monotonic clock. ``received`` counts bytes, ``events`` delivered events, and
    ``rejected_blocks`` and ``rejected_bytes`` blocks that are neither events nor responses. The consumer sets
    ``is_behind`` to get longer pauses in which it can catch up.
    """

    def __init__(self, deliver: Deliver, on_lost: Callable[[Exception | None], None]) -> None:
        self._deliver = deliver
        self._on_lost = on_lost
        self._framer = Framer()
        self._greeting: bytes | None = b""
        self._names: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {}
        self._undelivered: list[NewEvent] = []
        self.transport: Any = None
        self.closed = False
        self.answers = Answers()
        self.banner = ""
        self.received_at, self.read_at = time.time(), time.monotonic()
        self.received = 0
        self.events = 0
        self.paused = False
        self.is_behind = False
        self.rejected_blocks = 0
        self._rejected_bytes = 0

    @property
    def rejected_bytes(self) -> int:
        """Bytes in rejected blocks, and of streams in which no block ends."""
        return self._rejected_bytes + self._framer.overlong

    @property
    def pending(self) -> bytes:
        """The bytes of the unfinished block or greeting."""
        return self._framer.pending or self._greeting or b""

    def data_received(self, data: bytes) -> None:
        """Handle one read. Never raises for its content."""
        now = time.time()
        self.received_at, self.read_at = now, time.monotonic()
        self.received += len(data)
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        for block in self._framer.feed(data):
            self._handle(block, now)
        self._flush()
        if len(data) >= LARGE_READ_BYTES and self.transport is not None:
            # More is waiting, and the loop would read megabytes before it runs any other task.
            self.transport.pause_reading()
            pause = LONG_PAUSE_SECONDS if self.is_behind else PAUSE_SECONDS
            asyncio.get_running_loop().call_later(pause, self._resume_transport)

    def _greet(self, data: bytes) -> bytes:
        line, end, rest = data.partition(b"\r\n")
        if not end and len(line) <= MAX_BANNER_BYTES:
            self._greeting = line
            return b""
        self._greeting = None
        if end and line.startswith(BANNER):
            self.banner = decode_text(line[:MAX_BANNER_BYTES])
            return rest
        return data

    def _handle(self, block: bytes, now: float) -> None:
        start = block if block[0] not in b"\r\n" else block.lstrip(b"\r\n")
        if start.startswith(b"Event:"):
            raw = start[6 : start.find(b"\r\n")]
            name, mask = self._names.get(raw) or self._name(raw)
            self.events += 1
            self._undelivered.append(NewEvent("ami", name, occurred(block), now, mask(block)))
            if self.answers and name not in NEVER_ANSWERS:
                self._answer(start)
        elif start.startswith(b"Response:"):
            action = snapshot_action(start)
            if action is not None:
                self._undelivered.append(NewEvent("ami", f"Response:{action}", occurred(block), now, mask_block(block)))
            self._answer(start)
        else:
            self.rejected_blocks += 1
            self._rejected_bytes += len(block)

    def _name(self, raw: bytes) -> tuple[str, Callable[[bytes], bytes]]:
        """Return the event's name, and the function that masks the secrets of its block."""
        stripped = raw.strip()
        entry = decode_text(stripped[:MAX_NAME_BYTES]), masker_of(stripped)
        if len(self._names) < MAX_CACHED_NAMES and len(raw) <= MAX_NAME_BYTES:
            self._names[raw] = entry
        return entry

    def _flush(self) -> None:
        if self._undelivered:
            events, self._undelivered = self._undelivered, []
            self._deliver(events)

    def _answer(self, block: bytes) -> None:
        action = self.answers.get(action_id(block))
        if action is not None:
            self._flush()
            self.answers.add_block(action, block)

    def send(self, data: PendingAction, as_list: Any = None) -> Any:  # noqa: ARG002 (the base class's signature)
        """Send an action and return its future.

        Raises ValueError if a value contains CR, LF or NUL, and LinkLostError without a link.
        """
        for name, value in data.items():
            for one in (name, *value) if isinstance(value, list | tuple) else (name, value):
                if any(c in str(one) for c in "\r\n\0"):
                    raise ValueError("CR, LF and NUL cannot be part of an AMI action")
        wire = str(data).encode()
        if self.closed:
            raise LinkLostError
        self.answers.add(data)
        self.transport.write(wire)
        return data.future

    def pause(self) -> None:
        """Stop reading. Asterisk disconnects a client that does not read for long."""
        if not self.closed and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self.paused:
            self.paused = False
            self._resume_transport()

    def _resume_transport(self) -> None:
        if not self.paused and not self.closed and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: Any) -> None:
        """Store the transport; unlike the base class, reset no counter."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End every pending action with LinkLostError, and call ``on_lost``."""
        self.closed = True
        self.answers.fail_all(LinkLostError)
        self._on_lost(exc)

    def close(self) -> None:
        """Drop the link at once, without waiting for the peer."""
        if not self.closed:
            self.transport.abort()
