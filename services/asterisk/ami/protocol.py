"""The seam to panoramisk: its protocol class, with reading, ordering and ending done our way.

What panoramisk 1.4 does and this must cure: it decodes each read alone, dropping letters that a read boundary splits;
it drops headers without a space after the colon, and an empty last one; it keeps events that answer an action from
everybody else; an error in one message loses the rest of the read; unanswered actions are sent again after a
reconnect. So this class takes every read's bytes first, and panoramisk sees only what answers an action of ours.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from schemas.log import LATEST, NewEvent
from schemas.text import decode_text
from services.asterisk.ami.framing import Framer
from services.asterisk.ami.question import Question
from services.runtime.masking.ami import mask_block, masker_of

BANNER = b"Asterisk Call Manager"
LONGEST_BANNER = 256
TURN = 1 << 17
TURN_SECONDS = 0.001
LONG_TURN_SECONDS = 0.003
"""After a read of so many bytes others have their turn for so long; 60 MB/s can still be read, or 30."""

ANSWER_BYTES = 32 << 20
ANSWERS_BYTES = 64 << 20
"""Memory that one answer may take, and all unfinished answers of a link together."""
KNOWN_NAMES = 1000
LONGEST_NAME = 200

FOREIGN = frozenset({"UserEvent", "OriginateResponse"})
"""Live events that carry the ActionID of whoever caused them, in whatever session: never a part of an answer."""

logger = structlog.get_logger()


class LinkLostError(Exception):
    """The link to the PBX is gone."""


class AnswerTooLongError(TimeoutError):
    """The PBX sends more in answer to one action than is kept; its end is not waited for."""


Deliver = Callable[[list[NewEvent]], None]


class LedgerProtocol(AMIProtocol):
    """Hands every event block, and every reply to a snapshot's action, to ``deliver`` in wire order.

    It gets what one read brought at once, and before an answer is handled what stood before it. ``banner`` is
    Asterisk's greeting; ``heard`` is when bytes came last (seconds since the epoch), ``read_at`` the same by the
    monotonic clock, ``received`` how many did; ``events`` counts what was delivered as an event. ``answers`` is the
    memory that unfinished answers take (bytes). Blocks that are neither events nor responses are counted in
    ``rejected_blocks`` and ``rejected_bytes``. Who sets ``behind`` gets longer turns to do what waits.
    """

    def __init__(self, deliver: Deliver, lost: Callable[[Exception | None], None]) -> None:
        self._deliver = deliver
        self._lost = lost
        self._framer = Framer()
        self._greeting: bytes | None = b""
        self._names: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {}
        self._taken: list[NewEvent] = []
        self.transport: Any = None
        self.closed = False
        self.responses: dict[str, Action] = {}
        self.answers = 0
        self.banner = ""
        self.heard, self.read_at = time.time(), time.monotonic()
        self.received = 0
        self.events = 0
        self.paused = False
        self.behind = False
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

    @property
    def pending(self) -> bytes:
        """What was read last and has no end yet."""
        return self._framer.pending or self._greeting or b""

    def data_received(self, data: bytes) -> None:
        """Take one read. Never raises for what is in it."""
        now = time.time()
        self.heard, self.read_at = now, time.monotonic()
        self.received += len(data)
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        for block in self._framer.feed(data):
            self._take(block, now)
        self._hand_over()
        if len(data) >= TURN and self.transport is not None:
            # More is waiting, and the loop would read megabytes of it before anybody else's turn came.
            self.transport.pause_reading()
            turn = LONG_TURN_SECONDS if self.behind else TURN_SECONDS
            asyncio.get_running_loop().call_later(turn, self._read_on)

    def _greet(self, data: bytes) -> bytes:
        line, end, rest = data.partition(b"\r\n")
        if not end and len(line) <= LONGEST_BANNER:
            self._greeting = line
            return b""
        self._greeting = None
        if end and line.startswith(BANNER):
            self.banner = decode_text(line[:LONGEST_BANNER])
            return rest
        return data

    def _take(self, block: bytes, now: float) -> None:
        start = block if block[0] not in b"\r\n" else block.lstrip(b"\r\n")
        if start.startswith(b"Event:"):
            raw = start[6 : start.find(b"\r\n")]
            name, mask = self._names.get(raw) or self._name(raw)
            self.events += 1
            self._taken.append(NewEvent("ami", name, occurred(block), now, mask(block)))
            if self.responses and name not in FOREIGN:
                self._answer(start)
        elif start.startswith(b"Response:"):
            action = answered(start)
            if action is not None:
                self._taken.append(NewEvent("ami", f"Response:{action}", occurred(block), now, mask_block(block)))
            self._answer(start)
        else:
            self._rejected_blocks += 1
            self._rejected_bytes += len(block)

    def _name(self, raw: bytes) -> tuple[str, Callable[[bytes], bytes]]:
        """Return the event's name, and what masks the secrets of its block."""
        stripped = raw.strip()
        known = decode_text(stripped[:LONGEST_NAME]), masker_of(stripped)
        if len(self._names) < KNOWN_NAMES and len(raw) <= LONGEST_NAME:
            self._names[raw] = known
        return known

    def _hand_over(self) -> None:
        if self._taken:
            taken, self._taken = self._taken, []
            self._deliver(taken)

    def _answer(self, block: bytes) -> None:
        action = self.responses.get(action_id(block))
        if action is None:
            return
        self._hand_over()
        before = _memory(action)
        try:
            done = action.add_message(message(block))
        except Exception:
            # The asker hears of it; what else this read holds must not.
            logger.exception("answer_failed", action=action.action)
            if not action.future.done():
                action.future.set_exception(ValueError(f"the answer to {action.action} could not be read"))
                action.future.exception()  # nobody may be waiting for it any more
            done = True
        self.answers += _memory(action) - before
        if done:
            self.forget(action.id)
        elif _memory(action) > ANSWER_BYTES:
            self._cut(action)
        elif self.answers > ANSWERS_BYTES:
            self._cut(max(self.responses.values(), key=_memory))

    def _cut(self, action: Action) -> None:
        """Give up an answer that has become too long."""
        said = f"the answer to {action.action} takes more than {_memory(action) >> 20} MB so far"
        logger.warning("answer_cut", action=action.action, bytes=_memory(action), blocks=len(action.responses))
        self.forget(action.id)
        action.responses.clear()
        if not action.future.done():
            action.future.set_exception(AnswerTooLongError(said))
            action.future.exception()  # nobody may be waiting for it any more

    def forget(self, number: str) -> None:
        """Take nothing more in answer to the action of this ActionID."""
        action = self.responses.pop(number, None)
        if action is not None:
            self.answers -= _memory(action)

    def send(self, data: Action, as_list: Any = None) -> Any:  # noqa: ARG002 (the base class's signature)
        """Send an action. Raises ValueError when a value would start another line, LinkLostError without a link."""
        for name, value in data.items():
            for one in (name, *value) if isinstance(value, list | tuple) else (name, value):
                if any(c in str(one) for c in "\r\n\0"):
                    raise ValueError("CR, LF and NUL cannot be part of an AMI action")
        wire = str(data).encode()
        if self.closed:
            raise LinkLostError
        self.responses[data.id] = data
        self.transport.write(wire)
        return data.future

    def pause(self) -> None:
        """Stop reading: what was read waits for room. The PBX cuts a client that does not read for long."""
        if not self.closed and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused:
            self.paused = False
            self._read_on()

    def _read_on(self) -> None:
        if not self.paused and not self.closed and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: Any) -> None:
        """Take the transport; unlike the base class's, nothing that was counted starts anew."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End every waiting action with LinkLostError, and say so."""
        self.closed = True
        for action in self.responses.values():
            if not action.future.done():
                action.future.set_exception(LinkLostError())
                action.future.exception()  # nobody may be waiting for it any more
        self.responses.clear()
        self.answers = 0
        self._lost(exc)

    def close(self) -> None:
        """Drop the link at once; a peer that does not answer is not waited for."""
        if not self.closed:
            self.transport.abort()


def _memory(action: Action) -> int:
    return action.memory if isinstance(action, Question) else 0


def occurred(block: bytes) -> float | None:
    """Return the block's Timestamp header (``timestampevents = yes``), None if absent or not a time."""
    at = block.find(b"\r\nTimestamp: ")
    if at < 0:
        return None
    try:
        when = float(block[at + 13 : block.find(b"\r\n", at + 13)])
    except ValueError:
        return None
    return when if 0 <= when < LATEST else None


def action_id(block: bytes) -> str:
    """Return the block's ActionID, empty without one."""
    at = block.find(b"\r\nActionID:")
    return decode_text(block[at + 11 : block.find(b"\r\n", at + 11)].strip()) if at >= 0 else ""


def answered(block: bytes) -> str | None:
    """Return the action that a response answers, if a snapshot of ours asked for it."""
    parts = action_id(block).split("/")
    return parts[2][:200] if len(parts) > 2 and parts[0] == "ringledger" else None


def message(block: bytes) -> Message:
    """Return the block as panoramisk's Message, with every header; the values of repeated ones are a list."""
    headers: dict[str, Any] = {}
    for line in block.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            value = value.removeprefix(" ")
            if name not in headers:
                headers[name] = value
            elif isinstance(headers[name], list):
                headers[name].append(value)
            else:
                headers[name] = [headers[name], value]
    return Message(headers)
