"""Averages and percentages as app_queue.c computes and prints them (16.28 and 22.10)."""

import struct


def average(old: int, new: int) -> int:
    """Return the exponential average of hold and talk times: three parts old, one part new, rounded down."""
    return ((old << 2) - old + new) >> 2


def percent(part: int, whole: int) -> float:
    """Return what app_queue.c prints: C floats (binary32), one decimal."""
    return float(f"{_float(100 * _float(part / whole)):2.1f}") if whole > 0 else 0.0


def _float(value: float) -> float:
    narrow: float = struct.unpack("f", struct.pack("f", value))[0]
    return narrow
