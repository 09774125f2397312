"""Log = wire: the log of every link has the bytes that the tee delivered, from its first event on.

Only the end of a link may be missing, at most the events in a listener's memory. A fault must have lost it (the
listener killed, the link reset), and the log must have a gap for it. The gap begins no later than the first missing
event, and lasts until the next Connected.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from services.runtime.masking.ami import mask_block
from tests.chaos.tee import Cut, Link

END = b"\r\n\r\n"

READING_SECONDS = 0.05
"""``received_until`` is dated after the read; bytes sent while the machine was busy in between are older."""
ROUNDING_SECONDS = 1e-5
MEMORY_SECONDS = 3.0
"""Bytes that a listener has read are in the log or the spool after a second, or later on a busy machine."""


MAX_DIFFERENCES = 100
"""How many differences one comparison lists; it counts the others."""


class DifferenceError(AssertionError):
    """Log and truth differ; the message names each place exactly, one per line."""


def raise_all(differences: Sequence[str]) -> None:
    """Raise DifferenceError if there are any."""
    if differences:
        more = [f"and {len(differences) - MAX_DIFFERENCES} more"] if len(differences) > MAX_DIFFERENCES else []
        raise DifferenceError("\n".join([*differences[:MAX_DIFFERENCES], *more]))


class Wire(Struct, frozen=True):
    """One link as the tee saw it: the blocks that belong into the log, each with when its last byte was delivered."""

    number: int
    accepted: float
    cut: Cut | None
    blocks: Sequence[tuple[bytes, float]]


class Entry(Struct, frozen=True):
    """One event of the PBX's log; ``received_until`` is that of a Disconnected."""

    position: int
    source: str
    name: str
    recorded: float
    raw: bytes
    received_until: float | None = None


class Tally(Struct):
    """The compared blocks."""

    links: int = 0
    wire: int = 0
    bytes: int = 0
    log: int = 0
    masked: int = 0
    gaps: int = 0
    in_gaps: int = 0


class _Gap(Struct):
    """A gap: from ``received_until`` (None without a Disconnected) to the next Connected.

    ``last`` is when the last event before it was recorded. Before the first Connected nothing is claimed.
    """

    received_until: float | None = 0.0
    last: float = 0.0
    until: float = float("inf")


class _Segment(Struct):
    """The log of one link, and of the gap after it.

    ``resumed`` are events after the gap began: the log came back with older data, and the listener continued. They
    are of this link, or of later ones whose Connected the older data did not have.
    """

    connected: Entry
    events: list[Entry]
    gap: _Gap
    resumed: list[Entry]


class _Hole(NamedTuple):
    """Blocks of a link that are not in the log, from its block ``first`` on."""

    wire: Wire
    first: int
    blocks: Sequence[tuple[bytes, float]]


def logged(block: bytes) -> str:
    """Return the name under which a block belongs into the log: an event's, or a reply's to a snapshot; else empty."""
    first, *lines = block.lstrip(b"\r\n").decode("utf-8", "replace").split("\r\n")
    word, _, name = first.partition(":")
    if word == "Event":
        return name.strip()
    parts = next((line for line in lines if line.startswith("ActionID: ringledger/")), "").split("/")
    return f"Response:{parts[2]}" if word == "Response" and len(parts) > 2 else ""


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


def compare(
    wires: Iterable[Wire], log: Iterable[Entry], kills: Sequence[float], losses: Sequence[tuple[float, float]] = ()
) -> Tally:
    """Hold a PBX's log against the wire; ``kills`` are when its listener was killed. Raises DifferenceError.

    ``losses`` are from when until when the log lost what it had.

    A Connected belongs to the last link that was accepted before it: one listener has one link at a time. The first
    difference of each link counts, because what follows it is out of step.
    """
    tally = Tally()
    differences: list[str] = []
    coming = list(reversed(list(wires)))
    gap = _Gap()
    ended: list[_Hole] = []
    resumed: list[Entry] = []
    for segment in _segments(log, differences):
        where = f"log position {segment.connected.position}: Connected"
        gap.until = segment.connected.recorded
        if gap.received_until is None:
            differences.append(f"{where}, but no gap before it")
        started = []
        while coming and coming[-1].accepted <= gap.until + ROUNDING_SECONDS:
            started.append(_whole(coming.pop(), tally))
        if not started:
            differences.append(f"{where}, but the wire has no such link")
            gap = segment.gap
            continue
        wire = started.pop().wire
        missing = _after(ended + started, resumed, differences, tally)
        differences += _uncovered(missing, gap, (kills, losses), tally)
        differences += _unequal(wire, segment, tally)
        gap, resumed, first = segment.gap, segment.resumed, len(segment.events)
        ended = [_Hole(wire, first, wire.blocks[first:])]
        tally.gaps += gap.received_until is not None
    ended += [_whole(wire, tally) for wire in reversed(coming)]
    missing = _after(ended, resumed, differences, tally)
    differences += _uncovered(missing, gap, (kills, losses), tally)
    raise_all(differences)
    return tally


def _segments(log: Iterable[Entry], differences: list[str]) -> Iterator[_Segment]:
    segment: _Segment | None = None
    position = 0
    for entry in log:
        if entry.position <= position:
            differences.append(f"log position {entry.position} follows {position}")
        position = entry.position
        if entry.source == "ringledger" and entry.name == "Connected":
            if segment is not None:
                yield segment
            segment = _Segment(entry, [], _Gap(None, entry.recorded), [])
        elif segment is None:
            if entry.source == "ami":
                differences.append(f"log position {position}: {entry.name} before the first Connected")
        else:
            if entry.source == "ami":
                (segment.events if segment.gap.received_until is None else segment.resumed).append(entry)
            if segment.gap.received_until is None:
                if entry.source == "ringledger" and entry.name == "Disconnected":
                    segment.gap.received_until = entry.received_until
                else:
                    segment.gap.last = entry.recorded
    if segment is not None:
        yield segment


def _unequal(wire: Wire, segment: _Segment, tally: Tally) -> Iterator[str]:
    """Yield the first difference between a link and what the log has of it."""
    for index, event in enumerate(segment.events):
        where = f"log position {event.position}, link {wire.number}, block {index + 1}"
        if index >= len(wire.blocks):
            yield f"{where}: the wire ends before it; the log has {event.raw!r}"
            return
        block = wire.blocks[index][0]
        expected = mask_block(block)
        if event.raw != expected:
            yield f"{where}: {_how(wire, index, event.raw)}\n  wire {expected!r}\n  log  {event.raw!r}"
            return
        if event.name != logged(block):
            yield f"{where}: it is called {event.name!r} and not {logged(block)!r}"
            return
        tally.masked += expected != block
        tally.log += 1


def _how(wire: Wire, index: int, raw: bytes) -> str:
    """Say in what way a block is wrong."""
    if raw in {mask_block(block) for block, _ in wire.blocks[:index]}:
        return "an earlier block once more"
    if raw in {mask_block(block) for block, _ in wire.blocks[index + 1 :]}:
        return "a later block in the place of this one, which is lost or comes after it"
    expected = mask_block(wire.blocks[index][0])
    at = next((i for i, (a, b) in enumerate(zip(expected, raw, strict=False)) if a != b), min(len(expected), len(raw)))
    return f"other bytes, from byte {at} on"


def _whole(wire: Wire, tally: Tally) -> _Hole:
    """Count a link, of which nothing is in the log yet."""
    tally.links += 1
    tally.wire += len(wire.blocks)
    tally.bytes += sum(len(block) for block, _ in wire.blocks)
    return _Hole(wire, 0, wire.blocks)


def _after(holes: list[_Hole], resumed: list[Entry], differences: list[str], tally: Tally) -> list[_Hole]:
    """Return what is missing of these links once the events that resumed them are taken out, each link's in one run."""
    missing: list[_Hole] = []
    for number, hole in enumerate(holes):
        if not resumed:
            return missing + holes[number:]
        start, length = _run([mask_block(block) for block, _ in hole.blocks], [event.raw for event in resumed])
        rest = start + length
        missing.append(_Hole(hole.wire, hole.first, hole.blocks[:start]))
        missing.append(_Hole(hole.wire, hole.first + rest, hole.blocks[rest:]))
        resumed = resumed[length:]
        tally.log += length
    if resumed:
        differences.append(
            f"log position {resumed[0].position}, link {holes[0].wire.number}: neither the link nor a later one goes "
            f"on with these {len(resumed)} events:\n  log  {resumed[0].raw!r}"
        )
    return missing


def _run(blocks: list[bytes], raws: list[bytes]) -> tuple[int, int]:
    """Return where the longest run of blocks begins that equals the beginning of ``raws``, and how long it is."""
    best = (0, 0)
    for start, block in enumerate(blocks):
        if block == raws[0]:
            pairs = zip(blocks[start:], raws, strict=False)
            whole = min(len(blocks) - start, len(raws))
            length = next((number for number, (logged, raw) in enumerate(pairs) if logged != raw), whole)
            best = max(best, (start, length), key=lambda run: run[1])
    return best


Faults = tuple[Sequence[float], Sequence[tuple[float, float]]]
"""When a listener was killed; from when until when the log lost what it had."""


def _uncovered(ended: list[_Hole], gap: _Gap, faults: Faults, tally: Tally) -> Iterator[str]:
    """Yield what is missing of these links and not covered by the gap."""
    for wire, first, missing in ended:
        if not missing:
            continue
        tally.in_gaps += len(missing)
        (block, at), (_, end) = missing[0], missing[-1]
        what = f"link {wire.number}, block {first + 1} of {len(wire.blocks)}, delivered at {at:.6f}, is not in the log"
        if gap.received_until is None:
            yield f"{what}, and there is no gap:\n  wire {block!r}"
        # Events of one read have one time, and the database may have accepted a part of them.
        elif gap.received_until > at + READING_SECONDS and gap.received_until > gap.last + ROUNDING_SECONDS:
            yield f"{what}, but the gap begins later, at {gap.received_until:.6f}:\n  wire {block!r}"
        elif end > gap.until + READING_SECONDS:
            yield f"{what}, nor others up to {end:.6f}, but the gap ends before, at {gap.until:.6f}"
        elif not _could_be_lost(wire, at, gap, faults):
            yield f"{what}, and no fault took it:\n  wire {block!r}"


def _could_be_lost(wire: Wire, at: float, gap: _Gap, faults: Faults) -> bool:
    """Whether a fault can have taken what was delivered at ``at``: it was in memory only, or not read yet."""
    latest = at + MEMORY_SECONDS
    if wire.cut == "RST" and wire.blocks[-1][1] <= latest:
        return True
    kills, losses = faults
    if any(start - MEMORY_SECONDS <= at <= end + MEMORY_SECONDS for start, end in losses):
        return True
    return any(wire.accepted <= kill <= min(gap.until, latest) for kill in kills)
