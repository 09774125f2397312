"""Log = wire: what stands in the log of every link is what the tee delivered, byte for byte, from its first event on.

Only the end of a link may be missing, no more than a listener has in memory, and only where a fault can lose it (the
listener killed, the link reset) and a gap in the log says so: one that begins no later than what is missing, and lasts
until the next Connected.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from services.ami.framing import masked
from tests.chaos.tee import Cut, Link

END = b"\r\n\r\n"

READING_SECONDS = 0.05
"""``heard`` is dated after the read; what is sent while the machine is elsewhere in between is older than it."""
ROUNDING_SECONDS = 1e-5
MEMORY_SECONDS = 3.0
"""What a listener has read is in the log or the spool after a second, and a busy machine takes a while to write it."""


class DifferenceError(AssertionError):
    """What we say is not what is true; the message names the first place exactly."""


class Wire(Struct, frozen=True):
    """One link as the tee saw it: the blocks that belong into the log, each with when its last byte was delivered."""

    number: int
    accepted: float
    cut: Cut | None
    blocks: Sequence[tuple[bytes, float]]


class Entry(Struct, frozen=True):
    """One event of the PBX's log; ``heard`` is that of a Disconnected."""

    position: int
    source: str
    name: str
    recorded: float
    raw: bytes
    heard: float | None = None


class Tally(Struct):
    """What was compared, in blocks."""

    links: int = 0
    wire: int = 0
    bytes: int = 0
    log: int = 0
    masked: int = 0
    gaps: int = 0
    in_gaps: int = 0


class _Gap(Struct):
    """When nobody heard: from ``heard``, None while no Disconnected says so, to the next Connected.

    ``last`` is when the last event before it was recorded. Before the first Connected nothing is claimed.
    """

    heard: float | None = 0.0
    last: float = 0.0
    until: float = float("inf")


class _Segment(Struct):
    """What the log has of one link, and of the gap behind it."""

    connected: Entry
    events: list[Entry]
    gap: _Gap


def logged(block: bytes) -> str:
    """Return the name under which a block belongs into the log: an event's, or a reply's to a snapshot; else empty."""
    first, *lines = block.lstrip(b"\r\n").decode("utf-8", "replace").split("\r\n")
    word, _, name = first.partition(":")
    if word == "Event":
        return name.strip()
    asked = next((line for line in lines if line.startswith("ActionID: ringledger/")), "").split("/")
    return f"Response:{asked[2]}" if word == "Response" and len(asked) > 2 else ""


def wire_of(link: Link) -> Wire:
    """Cut what the tee wrote down into blocks; a last one without its end was never whole."""
    data = link.file.read_bytes()
    chunks = iter(link.chunks)
    delivered, at = 0, link.accepted
    blocks = []
    start = data.find(b"\r\n") + 2  # Asterisk's greeting
    while start > 1 and (end := data.find(END, start)) >= 0:
        end += len(END)
        while delivered < end:
            delivered, at = next(chunks)
        if logged(block := data[start:end]):
            blocks.append((block, at))
        start = end
    return Wire(link.number, link.accepted, link.cut, blocks)


def compare(wires: Iterable[Wire], log: Iterable[Entry], kills: Sequence[float]) -> Tally:
    """Hold a PBX's log against the wire; ``kills`` are when its listener was killed. Raises DifferenceError.

    A Connected belongs to the last link that was accepted before it: one listener has one link at a time.
    """
    tally = Tally()
    coming = list(reversed(list(wires)))
    gap = _Gap()
    ended: list[tuple[Wire, int]] = []
    for segment in _segments(log):
        where = f"log position {segment.connected.position}: Connected"
        gap.until = segment.connected.recorded
        if gap.heard is None:
            raise DifferenceError(f"{where}, but no gap before it")
        begun = []
        while coming and coming[-1].accepted <= gap.until + ROUNDING_SECONDS:
            begun.append((coming.pop(), 0))
        if not begun:
            raise DifferenceError(f"{where}, but the wire has no such link")
        wire, _ = begun.pop()
        _covered(ended + begun, gap, kills, tally)
        _same(wire, segment, tally)
        gap, ended = segment.gap, [(wire, len(segment.events))]
        tally.gaps += gap.heard is not None
    _covered(ended + [(wire, 0) for wire in reversed(coming)], gap, kills, tally)
    return tally


def _segments(log: Iterable[Entry]) -> Iterator[_Segment]:
    segment: _Segment | None = None
    position = 0
    for entry in log:
        if entry.position <= position:
            raise DifferenceError(f"log position {entry.position} follows {position}")
        position = entry.position
        if entry.source == "ringledger" and entry.name == "Connected":
            if segment is not None:
                yield segment
            segment = _Segment(entry, [], _Gap(None, entry.recorded))
        elif segment is None:
            if entry.source == "ami":
                raise DifferenceError(f"log position {position}: {entry.name} before the first Connected")
        else:
            if entry.source == "ami":
                segment.events.append(entry)
            if segment.gap.heard is None:
                if entry.source == "ringledger" and entry.name == "Disconnected":
                    segment.gap.heard = entry.heard
                else:
                    segment.gap.last = entry.recorded
    if segment is not None:
        yield segment


def _same(wire: Wire, segment: _Segment, tally: Tally) -> None:
    for index, event in enumerate(segment.events):
        where = f"log position {event.position}, link {wire.number}, block {index + 1}"
        if index >= len(wire.blocks):
            raise DifferenceError(f"{where}: the wire ends before it; the log has {event.raw!r}")
        block = wire.blocks[index][0]
        expected = masked(block)
        if event.raw != expected:
            raise DifferenceError(f"{where}: {_how(wire, index, event.raw)}\n  wire {expected!r}\n  log  {event.raw!r}")
        if event.name != logged(block):
            raise DifferenceError(f"{where}: it is called {event.name!r} and not {logged(block)!r}")
        tally.masked += expected != block
    tally.log += len(segment.events)


def _how(wire: Wire, index: int, raw: bytes) -> str:
    """Say in what way a block is wrong."""
    if raw in {masked(block) for block, _ in wire.blocks[:index]}:
        return "an earlier block once more"
    if raw in {masked(block) for block, _ in wire.blocks[index + 1 :]}:
        return "a later block in the place of this one, which is lost or comes after it"
    expected = masked(wire.blocks[index][0])
    at = next((i for i, (a, b) in enumerate(zip(expected, raw, strict=False)) if a != b), min(len(expected), len(raw)))
    return f"other bytes, from byte {at} on"


def _covered(ended: list[tuple[Wire, int]], gap: _Gap, kills: Sequence[float], tally: Tally) -> None:
    """Fail unless what is missing of these links, each from a block on, is covered by the gap."""
    for wire, first in ended:
        tally.links += 1
        tally.wire += len(wire.blocks)
        tally.bytes += sum(len(block) for block, _ in wire.blocks)
        missing = wire.blocks[first:]
        if not missing:
            continue
        tally.in_gaps += len(missing)
        (block, at), (_, end) = missing[0], missing[-1]
        what = f"link {wire.number}, block {first + 1} of {len(wire.blocks)}, delivered at {at:.6f}, is not in the log"
        if gap.heard is None:
            raise DifferenceError(f"{what}, and there is no gap:\n  wire {block!r}")
        # What one read brought has one time, and the database may have taken a part of it.
        if gap.heard > at + READING_SECONDS and gap.heard > gap.last + ROUNDING_SECONDS:
            raise DifferenceError(f"{what}, but the gap begins later, at {gap.heard:.6f}:\n  wire {block!r}")
        if end > gap.until + READING_SECONDS:
            raise DifferenceError(f"{what}, nor others up to {end:.6f}, but the gap ends before, at {gap.until:.6f}")
        if not _could_be_lost(wire, at, gap, kills):
            raise DifferenceError(f"{what}, and no fault took it:\n  wire {block!r}")


def _could_be_lost(wire: Wire, at: float, gap: _Gap, kills: Sequence[float]) -> bool:
    """Whether a fault can have taken what was delivered at ``at``: it was in memory only, or not read yet."""
    latest = at + MEMORY_SECONDS
    if wire.cut == "RST" and wire.blocks[-1][1] <= latest:
        return True
    return any(wire.accepted <= kill <= min(gap.until, latest) for kill in kills)
