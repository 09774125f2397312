"""Linked ids and unique ids: their age, by which Asterisk chooses the linked id of channels that come together.

A program that begins a call by Originate or ARI may give its channel any id. Then Asterisk compares the times at which
the channels were created.
"""

from functools import lru_cache

NO_TIME = 1 << 62


@lru_cache(maxsize=8192)
def age_of(linkedid: str) -> tuple[int, int]:
    """Return (seconds, counter) of an id such as ``pbx1-1795309031.380``; one without a time is the youngest."""
    seconds, _, counter = linkedid.rpartition("-")[2].partition(".")
    if seconds.isascii() and seconds.isdigit() and counter.isascii() and counter.isdigit():
        return int(seconds[:18]), int(counter[:18])
    return NO_TIME, 0


def has_time(one: str) -> bool:
    """Return whether an id is Asterisk's own, which holds the second in which its channel was created."""
    return age_of(one)[0] != NO_TIME


def by_age(linkedid: str) -> tuple[int, int, str]:
    """Return the key that sorts ids as Asterisk compares them, the oldest first."""
    return (*age_of(linkedid), linkedid)


def is_unique_id(one: str) -> bool:
    """Return whether an id is one of Asterisk's, and not a name that stands for one in queue_log and call records."""
    return "/" not in one


def is_older(one: str, other: str) -> bool:
    """Return whether the id ``one`` is older than ``other``."""
    return by_age(one) < by_age(other)
