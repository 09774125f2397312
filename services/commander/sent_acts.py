"""The acts that a commander has sent, across its terms."""

import time
from collections.abc import Callable

from schemas.acts import ActFailed, ActSucceeded, ActUnknown

TTL_SECONDS = 60.0
"""A minute suffices, because a request that is not sent within five seconds never is."""

Outcome = ActSucceeded | ActFailed | ActUnknown


class SentActs:
    """The acts sent in the last minute, with their outcomes as far as they are known.

    A term appends the outcomes that an earlier one could not append, and those that a log with older data has lost.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._acts: dict[str, tuple[float, Outcome | None]] = {}

    def __contains__(self, act_id: str) -> bool:
        return act_id in self._acts

    def add(self, act_id: str, outcome: Outcome | None = None) -> None:
        """Store an act that is being sent, or its outcome."""
        self._acts[act_id] = self._clock(), outcome

    def outcome_of(self, act_id: str) -> Outcome:
        """Return the outcome of an act, ActUnknown if it has none."""
        _, outcome = self._acts.get(act_id, (0.0, None))
        return outcome or ActUnknown(act_id, "the commander ended before the PBX had responded")

    def forget_old(self) -> None:
        """Delete acts that were sent more than a minute ago."""
        oldest = self._clock() - TTL_SECONDS
        self._acts = {act_id: act for act_id, act in self._acts.items() if act[0] > oldest}
