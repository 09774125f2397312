"""Reads a queue_log file plainly: when agents were logged in, and when members were paused. It is a truth of tests.

Lines of one person may have two names: ADDMEMBER has the interface, AGENTLOGIN the agent's number, PAUSE the member's
name. A file does not say which belong together.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tests.support.queue_log_lines import Line, read_lines

LOGINS = ("AGENTLOGIN", "AGENTCALLBACKLOGIN", "ADDMEMBER")
LOGOFFS = ("AGENTLOGOFF", "AGENTCALLBACKLOGOFF", "REMOVEMEMBER")
PAUSES = ("PAUSE", "PAUSEALL")
UNPAUSES = ("UNPAUSE", "UNPAUSEALL")


@dataclass
class Interval:
    """A login or a pause; ``queue`` is "NONE" for all queues, ``text`` the channel or the reason.

    Times are seconds since the epoch, None for an end that the file does not have.
    """

    agent: str
    queue: str
    started_at: float
    ended_at: float | None = None
    text: str = ""


class Sessions:
    """All logins and pauses of a file, in the order of their starts."""

    def __init__(self, text: str) -> None:
        self.logins: list[Interval] = []
        self.pauses: list[Interval] = []
        self._first = 0.0
        self._queues: Counter[tuple[str, str]] = Counter()
        for line in read_lines(text):
            self._first = self._first or line.at
            self._queues[line.agent, line.queue] += 1
            self._take(line)

    def logged_in(self, agent: str) -> list[Interval]:
        """Return the open logins of an agent."""
        return [login for login in self.logins if login.agent == agent and login.ended_at is None]

    def paused(self, agent: str, queue: str) -> list[Interval]:
        """Return the open pauses of a member that hold in a queue, that of the queue itself first."""
        queues = (queue, "NONE")
        paused = [p for p in self.pauses if p.agent == agent and p.ended_at is None and p.queue in queues]
        return sorted(paused, key=lambda p: queues.index(p.queue))

    def login_seconds(self, agent: str, until: float) -> float:
        """Return the seconds of an agent's logins; those that overlap count once."""
        return _length(_spans((i for i in self.logins if i.agent == agent), until))

    def pause_seconds(self, agent: str, until: float) -> float:
        """Return the seconds in which a member was paused in all queues of which the file has a line about him."""
        pauses = [p for p in self.pauses if p.agent == agent]
        everywhere = _spans((p for p in pauses if p.queue == "NONE"), until)
        queues = [queue for name, queue in self._queues if name == agent and queue != "NONE"]
        common = [(self._first, until)] if queues else []
        for queue in queues:
            spans = _spans((p for p in pauses if p.queue in {queue, "NONE"}), until)
            common = [(max(a, c), min(b, d)) for a, b in common for c, d in spans if max(a, c) < min(b, d)]
        return _length(_union([*everywhere, *common]))

    def _take(self, line: Line) -> None:
        text = line.data[0] if line.data else ""
        if line.event in LOGINS:
            is_paused = line.event == "ADDMEMBER" and text == "PAUSED"
            self._close(self.logins, line)
            self.logins.append(Interval(line.agent, line.queue, line.at, text="" if line.queue != "NONE" else text))
            if is_paused:
                self.pauses.append(Interval(line.agent, line.queue, line.at))
        elif line.event in LOGOFFS:
            if not self._close(self.logins, line):
                seconds = line.number(1)
                start = self._first if seconds is None else line.at - seconds
                self.logins.append(Interval(line.agent, line.queue, start, line.at))
            if line.event == "REMOVEMEMBER":
                self._close(self.pauses, line)
        elif line.event in PAUSES:
            if not [p for p in self.pauses if (p.agent, p.queue) == (line.agent, line.queue) and p.ended_at is None]:
                self.pauses.append(Interval(line.agent, line.queue, line.at, text=text))
        elif line.event in UNPAUSES:
            # A member who works in one queue again is not paused in all any more. Queues with a line of their own stay.
            queues = None if line.event == "UNPAUSEALL" else {line.queue, "NONE"}
            for pause in self.pauses:
                if pause.agent == line.agent and pause.ended_at is None and (queues is None or pause.queue in queues):
                    pause.ended_at = line.at

    def _close(self, intervals: list[Interval], line: Line) -> bool:
        """End the open interval of a line's agent and queue; return whether there was one."""
        for one in intervals:
            if (one.agent, one.queue) == (line.agent, line.queue) and one.ended_at is None:
                one.ended_at = line.at
                return True
        return False


def _spans(intervals: Iterable[Interval], until: float) -> list[tuple[float, float]]:
    return _union([(i.started_at, until if i.ended_at is None else min(i.ended_at, until)) for i in intervals])


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    union: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = union[-1][0], max(union[-1][1], end)
        else:
            union.append((start, end))
    return union


def _length(spans: list[tuple[float, float]]) -> float:
    return sum(max(0.0, end - start) for start, end in spans)
