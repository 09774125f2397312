"""Bloom filters of calls: 64 bits, of which each value of a call sets some. Most calls without a value lack its bits.

A list of calls by two filters walks the tags of one. It reads a call and its other tags only where the Bloom filter has
the bits of all filters. A tag sets two bits, which other tags may set too. A flag has its own bit. A call has the bits
of all its values, so the list is the same.
"""

import zlib
from collections.abc import Iterable

FLAGS = (
    *("direction=internal", "direction=inbound", "direction=outbound", "direction=transit"),
    *("outcome=answered", "outcome=busy", "outcome=no_answer", "outcome=cancelled", "outcome=congestion"),
    *("outcome=failed", "outcome=abandoned", "outcome=timeout", "outcome=pbx_only", "outcome=unknown"),
    *("transferred=true", "talk=60", "talk=300", "talk=900", "talk=3600"),
)
"""The values of the lowest bits, in their order: these of a call, and the least seconds of its talk."""
BITS = {flag: 1 << place for place, flag in enumerate(FLAGS)}
TALKS = (60, 300, 900, 3600)
TAG_BITS = 64 - len(FLAGS)
"""The number of the highest bits, which tags set."""
ALL_BITS = -1
"""The Bloom filter of a call that has not ended: its values still change."""


def bloom_of(
    tags: Iterable[tuple[str, str]],
    direction: str | None,
    outcome: str | None,
    talk_seconds: float,
    *,
    is_transferred: bool,
) -> int:
    """Return the bits of tags, by kind and value, and of a call, as a signed number of 64 bits; None sets none."""
    flags = [f"talk={least}" for least in TALKS if talk_seconds >= least]
    flags += [f"direction={direction}", f"outcome={outcome}", "transferred=true" if is_transferred else ""]
    bits = sum([BITS.get(flag, 0) for flag in flags])
    for kind, value in tags:
        digest = zlib.crc32(f"{kind}={value}".encode("utf-8", "surrogatepass"))
        for place in (digest % TAG_BITS, digest // TAG_BITS % TAG_BITS):
            bits |= 1 << len(FLAGS) + place
    return bits - (1 << 64) if bits >> 63 else bits
