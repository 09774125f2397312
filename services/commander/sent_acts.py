"""A commander's memory of the acts that it has sent."""

import time
from collections.abc import Callable

from schemas.acts import ActFailed, ActSucceeded, ActUnknown

REMEMBER_SECONDS = 60.0
"""A request that has not been sent after five seconds never is, so a minute is enough."""

Outcome = ActSucceeded | ActFailed | ActUnknown


class SentActs:
    """The acts that were sent in the last minute, with their outcomes as far as they are known.

    A term appends the outcomes that an earlier one could not, and those that a log with older data has lost.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._acts: dict[str, tuple[float, Outcome | None]] = {}

    def __contains__(self, act_id: str) -> bool:
        return act_id in self._acts

    def add(self, act_id: str, outcome: Outcome | None = None) -> None:
        """Remember an act that is sent now, or its outcome."""
        self._acts[act_id] = self._clock(), outcome

    def outcome_of(self, act_id: str) -> Outcome:
        """Return what came of an act; ActUnknown where that is not known."""
        _, outcome = self._acts.get(act_id, (0.0, None))
        return outcome or ActUnknown(act_id, "the commander ended before the PBX had answered")

    def forget_old(self) -> None:
        """Forget what was sent more than a minute ago."""
        oldest = self._clock() - REMEMBER_SECONDS
        self._acts = {act_id: act for act_id, act in self._acts.items() if act[0] > oldest}
