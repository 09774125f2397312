"""The recording that the bench plays: 200 calls, 33,400 events, of a loaded Asterisk 22.10.1, over and over.

``local22.rx.xz`` holds the first 200 calls of a recording of 100 calls a second through Local channels: every event
that belongs to one of them, in order, so that every channel is announced and hung up. Their share of
DeviceStateChange and TestEvent, which belong to no call, is kept.
"""

import lzma
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("local22.rx.xz")
FIRST_SECOND = 1795309866
SECONDS = 4
"""The seconds that the recording spans; its timestamps and unique ids contain them."""


@cache
def one_round() -> list[bytes]:
    """Return the events in order, each with its empty line."""
    return [block + b"\r\n\r\n" for block in lzma.decompress(FILE.read_bytes()).split(b"\r\n\r\n")[:-1]]


def sent_of(total: int) -> dict[str, int]:
    """Return how many events of each name are among ``total`` events that are played."""
    rounds, rest = divmod(total, len(one_round()))
    names = [event[7 : event.index(b"\r\n")].decode() for event in one_round()]
    whole, part = Counter(names), Counter(names[:rest])
    return {name: rounds * count + part[name] for name, count in whole.items()}


def played(total: int, begin: int, piece: int) -> Iterator[tuple[int, bytes]]:
    """Yield ``total`` events in pieces of up to ``piece``: how many, and their bytes.

    Every round has timestamps and unique ids of its own. Its seconds start one later than those of the round before,
    from ``begin`` (seconds since the epoch). They are replaced in the bytes, so that the sender costs next to nothing.
    """
    recorded = one_round()
    done = 0
    while done < total:
        round_, start = divmod(done, len(recorded))
        count = min(piece, total - done, len(recorded) - start)
        data = b"".join(recorded[start : start + count])
        for second in range(SECONDS):
            data = data.replace(b"%d." % (FIRST_SECOND + second), b"%d." % (begin + round_ + second))
        yield count, data
        done += count
