"""A line of queue_log, which Asterisk's app_queue and app_agent_pool write, and imports take."""

from typing import ClassVar

from msgspec import field

from schemas.ami import AmiEvent
from schemas.log import Source


class QueueLogLine(AmiEvent, frozen=True, kw_only=True, gc=False):
    """``time|call id|queue|agent|event|data...``; NONE in one of the first columns is empty here."""

    source_of_events: ClassVar[Source] = "queue_log"

    call_id: str = field(name="CallID", default="")
    queue: str = field(name="Queue", default="")
    agent: str = field(name="Agent", default="")
    event: str = field(name="Event", default="")
    data: list[str] = field(name="Data", default_factory=list)

    def text(self, index: int) -> str:
        """Return a column of the data, empty where an older Asterisk writes fewer."""
        return self.data[index] if index < len(self.data) else ""

    def seconds(self, index: int) -> int:
        """Return a column of whole seconds, 0 where it is absent. Raises ValueError."""
        return int(self.text(index) or 0)
