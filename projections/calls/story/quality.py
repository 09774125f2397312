"""The quality of a leg: the worst values in the RTCP reports of its channel (class reporting)."""

from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami

CLOCK = 8.0
"""Units of the jitter in a millisecond: the clock of G.711, G.722, G.729 and GSM. AMI does not tell the codec."""

BPL = 25.1
"""Robustness of G.711 with packet loss concealment against random loss (ITU-T G.113, appendix I)."""


def report(pbx: Pbx, e: ami.RtcpReport) -> None:
    """Keep the worst values of a channel's reports."""
    leg = pbx.legs.get(e.unique_id)
    if leg is None or (e.lost is None and e.jitter is None):
        return
    loss = min(max(e.lost or 0.0, 0.0), 256.0) * 100 / 256
    jitter = max(e.jitter or 0.0, 0.0) / CLOCK
    rtt = None if e.rtt is None else max(e.rtt, 0.0) * 1000
    rating = e_model(loss, jitter, rtt or 0.0) if e.mes is None else e.mes
    worst = [round(mos_of(rating), 2), round(loss, 2), round(jitter, 3), None if rtt is None else round(rtt, 3)]
    if leg.quality:
        before = leg.quality
        worst = [_least(worst[0], before[0]), *map(_most, worst[1:], before[1:])]
        if worst == before:
            return
    leg.quality = worst
    pbx.touch(pbx.homes[e.unique_id], e.at)


def e_model(loss: float, jitter: float, rtt: float) -> float:
    """Return the rating R of ITU-T G.107 for percent of loss, and jitter and round trip in milliseconds."""
    delay = rtt / 2 + 2 * jitter + 10
    impairment = 0.024 * delay + (0.11 * (delay - 177.3) if delay > 177.3 else 0.0)
    return 93.2 - impairment - 95 * loss / (loss + BPL)


def mos_of(rating: float) -> float:
    """Return the mean opinion score of a rating R (ITU-T G.107, annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
