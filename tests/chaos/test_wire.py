"""The comparison of wire and log can fail: it finds each kind of difference, and names its place."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.chaos.tee import Cut
from tests.chaos.wire import DifferenceError, Entry, Tally, Wire, compare, logged


def block(number: int, more: str = "") -> bytes:
    return f"Event: Newstate\r\nUniqueid: {number}\r\n{more}\r\n".encode()


def wire(number: int, begin: float, blocks: list[bytes], cut: Cut | None = None) -> Wire:
    """A link accepted at ``begin`` whose first block comes a second later, then ten a second."""
    return Wire(number, begin, cut, [(b, begin + 1 + i / 10) for i, b in enumerate(blocks)])


class Log:
    """A correct log, to be falsified."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, source: str, name: str, at: float, raw: bytes = b"{}", received_until: float | None = None) -> None:
        self.entries.append(Entry(len(self.entries) + 1, source, name, at, raw, received_until))

    def link(self, of: Wire, count: int | None = None) -> None:
        """Log the first ``count`` blocks of a link, and its end as the listener, or the next one, knew it."""
        self.add("ringledger", "Connected", of.accepted + 0.5)
        self.add("ringledger", "SnapshotStarted", of.accepted + 0.6)
        last = of.accepted + 0.6
        for raw, at in of.blocks[:count]:
            last = at + 0.001
            self.add("ami", logged(raw), last, raw)
        self.add("ringledger", "Disconnected", last + 1, received_until=last)


FIRST = wire(0, 100, [block(n) for n in range(20)])
LOST = wire(1, 110, [block(n) for n in range(20, 40)])
SECOND = wire(2, 120, [block(n) for n in range(40, 60)])
KILL = 113.0
"""In the second link, of whose blocks the last twelve are in no log, and which the third found ended."""


def correct_log() -> Log:
    log = Log()
    log.link(FIRST)
    log.link(LOST, 8)
    log.link(SECOND)
    return log


def compare_log(log: Log, *wires: Wire, kills: tuple[float, ...] = (KILL,)) -> Tally:
    return compare(wires or (FIRST, LOST, SECOND), log.entries, kills)


def untrue(log: Log, match: str, *wires: Wire, kills: tuple[float, ...] = (KILL,)) -> None:
    with pytest.raises(DifferenceError, match=match):
        compare_log(log, *wires, kills=kills)


def test_the_truth_passes_and_is_counted() -> None:
    tally = compare_log(correct_log())
    assert (tally.links, tally.wire, tally.log, tally.in_gaps, tally.gaps) == (3, 60, 48, 12, 3)
    assert tally.bytes == sum(len(raw) for link in (FIRST, LOST, SECOND) for raw, _ in link.blocks)


def lose(entries: list[Entry]) -> None:
    del entries[6]


def double(entries: list[Entry]) -> None:
    entries.insert(7, entries[6])


def swap(entries: list[Entry]) -> None:
    entries[6], entries[7] = entries[7], entries[6]


def change(entries: list[Entry]) -> None:
    entries[6] = replace(entries[6], raw=entries[6].raw.replace(b"Uniqueid: 4", b"Uniqueid: X"))


def shorten(entries: list[Entry]) -> None:
    entries[6] = replace(entries[6], raw=entries[6].raw[:-2])


def rename(entries: list[Entry]) -> None:
    entries[6] = replace(entries[6], name="Hangup")


def invent(entries: list[Entry]) -> None:
    end = next(i for i, e in enumerate(entries) if e.name == "Disconnected")
    entries.insert(end, entries[6])


@pytest.mark.parametrize(
    ("falsify", "match"),
    [
        (lose, r"position 7, link 0, block 5: a later block"),
        (double, r"position 8, link 0, block 6: an earlier block once more"),
        (swap, r"position 7, link 0, block 5: a later block"),
        (change, r"position 7, link 0, block 5: other bytes, from byte 27 on"),
        (shorten, r"position 7, link 0, block 5: other bytes, from byte 30 on"),
        (rename, r"position 7, link 0, block 5: it is called 'Hangup'"),
        (invent, r"link 0, block 21: the wire ends before it"),
    ],
)
def test_each_falsification_is_named(falsify: Callable[[list[Entry]], None], match: str) -> None:
    log = correct_log()
    falsify(log.entries)
    log.entries = [replace(entry, position=i) for i, entry in enumerate(log.entries, 1)]
    untrue(log, match)


def test_positions_that_fall_are_found() -> None:
    log = correct_log()
    log.entries[5], log.entries[6] = log.entries[6], log.entries[5]
    untrue(log, "position 6 follows 7")


def test_a_missing_part_requires_a_gap() -> None:
    log = correct_log()
    ends = [i for i, e in enumerate(log.entries) if e.name == "Disconnected"]
    gap = log.entries.pop(ends[1])
    untrue(log, "Connected, but no gap before it")
    log = Log()
    log.link(FIRST)
    log.link(LOST, 8)
    del log.entries[-1]
    untrue(log, r"link 1, block 9 of 20, delivered at 111\.8\d+, is not in the log, and there is no gap", FIRST, LOST)
    assert gap.received_until is not None


def test_the_gap_begins_before_the_missing_part() -> None:
    log = correct_log()
    end = [i for i, e in enumerate(log.entries) if e.name == "Disconnected"][1]
    log.entries[end] = replace(log.entries[end], received_until=112.5)
    untrue(log, r"link 1, block 9 .* but the gap begins later, at 112\.5")


def test_one_read_may_be_divided() -> None:
    log = correct_log()
    end = [i for i, e in enumerate(log.entries) if e.name == "Disconnected"][1]
    # The listener was busy: it read at 113.5 what had come until then, and the database has a part of it.
    log.entries[end - 1] = replace(log.entries[end - 1], recorded=113.5)
    log.entries[end] = replace(log.entries[end], received_until=113.5)
    assert compare_log(log).in_gaps == 12


def test_a_missing_part_requires_a_losing_fault() -> None:
    untrue(correct_log(), "link 1, block 9 of 20, .* and no fault took it", kills=())
    untrue(correct_log(), "no fault took it", kills=(105.0, 121.0))
    assert compare_log(correct_log(), FIRST, replace(LOST, cut="RST"), SECOND, kills=()).in_gaps == 12
    for cut in ("FIN", "silence"):
        untrue(correct_log(), "no fault took it", FIRST, replace(LOST, cut=cut), SECOND, kills=())


def test_events_long_before_a_fault_are_required() -> None:
    assert compare_log(correct_log(), kills=(LOST.blocks[8][1] + 2.9,)).in_gaps == 12
    untrue(correct_log(), "link 1, block 9 of 20, .* and no fault took it", kills=(LOST.blocks[8][1] + 3.1,))
    longer = wire(1, 110, [block(n) for n in range(20, 60)], cut="RST")
    untrue(correct_log(), "link 1, block 9 of 40, .* and no fault took it", FIRST, longer, SECOND, kills=())


def test_a_missing_link_requires_a_gap() -> None:
    log = Log()
    log.link(FIRST)
    log.link(SECOND)
    assert compare_log(log).in_gaps == 20
    untrue(log, "link 1, block 1 of 20, .* and no fault took it", kills=(105.0,))
    end = next(i for i, e in enumerate(log.entries) if e.name == "Disconnected")
    log.entries[end] = replace(log.entries[end], received_until=115.0)
    untrue(log, "link 1, block 1 of 20, .* but the gap begins later")


def test_a_middle_is_never_missing() -> None:
    log = correct_log()
    del log.entries[27:30]
    log.entries = [replace(entry, position=i) for i, entry in enumerate(log.entries, 1)]
    untrue(log, "link 1, block .*: a later block")


def test_a_link_that_was_not_there_is_found() -> None:
    log = correct_log()
    untrue(log, "Connected, but the wire has no such link", FIRST, LOST)
    log = Log()
    log.add("ami", "Newstate", 99, block(1))
    untrue(log, "Newstate before the first Connected")


def test_the_last_link_needs_its_end_too() -> None:
    log = correct_log()
    assert log.entries[-2].raw == SECOND.blocks[-1][0]
    del log.entries[-3:-1]
    untrue(log, "link 2, block 19 of 20, .* but the gap begins later", kills=(KILL, 122.95))


def test_only_secrets_are_masked_in_place() -> None:
    secret = block(1, "Password: hunter2\r\nNote: kept\r\n")
    hidden = secret.replace(b"hunter2", b"********")
    log = Log()
    log.link(wire(0, 100, [hidden]))
    assert compare_log(log, wire(0, 100, [secret])).masked == 1
    log.entries[2] = replace(log.entries[2], raw=secret)
    untrue(log, "other bytes, from byte 40 on", wire(0, 100, [secret]))
    log.entries[2] = replace(log.entries[2], raw=hidden.replace(b"kept", b"****"))
    untrue(log, "other bytes, from byte 56 on", wire(0, 100, [secret]))


def test_logged_names_events_and_own_responses() -> None:
    assert logged(block(1)) == "Newstate"
    assert logged(b"\r\nEvent: TestEvent\r\n\r\n") == "TestEvent"
    assert logged(b"Response: Success\r\nActionID: ringledger/17/QueueStatus\r\n\r\n") == "Response:QueueStatus"
    assert logged(b"Response: Success\r\nActionID: ringledger/17/ModuleCheck/x/y\r\n\r\n") == "Response:ModuleCheck"
    for other in (
        b"Response: Success\r\nActionID: rl-1f-3\r\n\r\n",
        b"Response: Success\r\nPing: Pong\r\n\r\n",
        b"x\r\n\r\n",
    ):
        assert logged(other) == ""


def test_all_differences_are_named() -> None:
    log = correct_log()
    gap = next(i for i, e in enumerate(log.entries) if e.name == "Disconnected")
    log.entries[4] = replace(log.entries[4], raw=b"x")
    del log.entries[gap]
    log.entries[-4] = replace(log.entries[-4], name="Hangup")
    with pytest.raises(DifferenceError) as result:
        compare_log(log)
    lines = [line for line in str(result.value).splitlines() if not line.startswith("  ")]
    assert len(lines) == 3
    for line, part in zip(lines, ("link 0, block 3: other bytes", "no gap before it", "'Hangup'"), strict=True):
        assert part in line


def resumed() -> Log:
    """The log came back without blocks 8 to 11 of the second link, and the listener then continued it."""
    log = Log()
    log.link(FIRST)
    log.link(LOST, 8)
    for raw, at in LOST.blocks[12:15]:
        log.add("ami", logged(raw), at, raw)
    log.link(SECOND)
    return log


def test_a_link_may_continue_after_lost_events() -> None:
    wires = (FIRST, LOST, SECOND)
    lost = ((LOST.blocks[8][1], LOST.blocks[-1][1]),)
    tally = compare(wires, resumed().entries, (), lost)
    assert (tally.log, tally.in_gaps, tally.wire) == (51, 9, 60)
    with pytest.raises(DifferenceError, match=r"link 1, block 9 of 20, .* and no fault took it"):
        compare(wires, resumed().entries, ())
    log = resumed()
    at = next(i for i, e in enumerate(log.entries) if e.raw == LOST.blocks[13][0])
    del log.entries[at]
    with pytest.raises(DifferenceError, match="link 1: neither the link nor a later one goes on with these 1 events"):
        compare(wires, log.entries, (), lost)


def test_a_later_link_may_lack_its_connected() -> None:
    wires = (FIRST, LOST, SECOND, wire(3, 130, [block(n) for n in range(60, 80)]))
    lost = ((LOST.blocks[8][1], 130.0),)
    log = Log()
    log.link(FIRST)
    log.link(LOST, 8)
    for raw, at in (*LOST.blocks[12:15], *SECOND.blocks[3:18]):
        log.add("ami", logged(raw), at, raw)
    log.link(wires[3])
    tally = compare(wires, log.entries, (), lost)
    assert (tally.links, tally.log, tally.in_gaps, tally.wire) == (4, 66, 14, 80)
    at = next(i for i, e in enumerate(log.entries) if e.raw == SECOND.blocks[10][0])
    del log.entries[at]
    with pytest.raises(DifferenceError, match="link 1: neither the link nor a later one goes on with these 7 events"):
        compare(wires, log.entries, (), lost)
