"""A passage as lines of queue_log give it, before it is known whether AMI has the same one."""

from datetime import datetime, timedelta

from msgspec import Struct

from projections.engine.durations import MAX_SECONDS

NEAR = timedelta(seconds=3)
"""How far whole seconds and the network may put the two times of one moment apart."""


class LogPassage(Struct, omit_defaults=True):
    """A way of the caller ``call_id`` (the unique id of his channel) through a queue.

    ``has_entry`` is set once its ENTERQUEUE was read; without it ``entered_at`` is the later line's time less its
    seconds. ``peer`` is the unique id of the channel that answered, empty in old files. ``ring`` is how long that
    channel rang, in seconds. ``method`` is the word of the line with which the agent handed the caller on, ``exten``
    and ``context`` are the place to which.
    """

    queue: str
    call_id: str
    entered_at: datetime
    has_entry: bool = False
    number: str = ""
    position: int | None = None
    left_at: datetime | None = None
    wait: float | None = None
    answered_at: datetime | None = None
    completed_at: datetime | None = None
    talk: float | None = None
    outcome: str = ""
    member: str = ""
    peer: str = ""
    ring: int | None = None
    ended_by: str = ""
    key: str = ""
    ring_no_answers: int = 0
    method: str = ""
    exten: str = ""
    context: str = ""

    def is_open(self) -> bool:
        """Return whether the caller waits or talks, as far as the lines tell."""
        return not self.outcome or (self.outcome == "answered" and self.completed_at is None)

    def agent(self) -> str:
        """Return the unique id of the agent's channel; where the file lacks it, a name that no channel has."""
        return self.peer or f"{self.call_id}/{self.member}"

    def rang_at(self) -> datetime:
        """Return since when the agent's channel rang; of a passage with an answer alone."""
        assert self.answered_at is not None
        return self.answered_at - timedelta(seconds=min(self.ring or 0, MAX_SECONDS))
