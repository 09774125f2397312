"""Reads a queue_log file plainly: the passages of callers, and the calls of agents. It is the truth of other tests.

It shares no code with the product. `tests.support.queue_log_sessions` reads the logins and pauses.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.queue_log_lines import Line, read_lines

DIALPLAN = {
    "CLOSED": "closed",
    "FULL": "full",
    "DIVERT_CA_RATIO": "full",
    "DIVERT_HOLDTIME": "full",
    "JOINEMPTY": "join_empty",
    "LEAVEEMPTY": "left_empty",
}
NEVER_IN = {"closed", "full", "join_empty"}
EXITS = {
    "ABANDON": "abandoned",
    "EXITWITHTIMEOUT": "timeout",
    "EXITEMPTY": "left_empty",
    "WITHDRAW": "withdrawn",
    "EXITWITHKEY": "exit_key",
}
ENDS = {
    "COMPLETECALLER": "caller",
    "COMPLETEAGENT": "agent",
    "TRANSFER": "transfer",
    "BLINDTRANSFER": "transfer",
    "ATTENDEDTRANSFER": "transfer",
}
LATER = 1.5
"""Whole seconds and the order of the lines of one second may move a start by this much."""


@dataclass
class Passage:
    """One stay of a caller in a queue; times are seconds since the epoch, None where the file does not say.

    Two threads of Asterisk may each log an end of one talk, for a transfer and for a hangup. ``second_end`` is what
    ended it by the later line, and the seconds of talk.
    """

    queue: str
    call: str
    entered_at: float
    number: str = ""
    position: int | None = None
    left_at: float | None = None
    answered_at: float | None = None
    wait_seconds: int | None = None
    talk_seconds: int | None = None
    outcome: str = "waiting"
    agent: str = ""
    ended_by: str = ""
    key: str = ""
    ring_no_answers: int = 0
    second_end: tuple[str, int] | None = None


@dataclass
class AgentCalls:
    """The calls of one member, by the name in the fourth column; ``offered`` lacks those that another one took."""

    offered: int = 0
    answered: int = 0
    completed: int = 0
    ring_no_answers: int = 0
    transferred: int = 0
    talk_seconds: int = 0
    wrapup_seconds: int = 0


@dataclass
class QueueLog:
    """All callers of a file; ``uncounted`` are the events of lines that count nowhere."""

    passages: list[Passage] = field(default_factory=list)
    agents: dict[str, AgentCalls] = field(default_factory=lambda: defaultdict(AgentCalls))
    uncounted: Counter[str] = field(default_factory=Counter)

    def outcomes(self, queue: str) -> Counter[str]:
        return Counter(passage.outcome for passage in self.passages if passage.queue == queue)


def read_queue_log(text: str, words: Mapping[str, str] = DIALPLAN) -> QueueLog:
    """Read a file; ``words`` are the dialplan's own events with the outcomes that they mean."""
    return _Reader(read_lines(text), words).log


class _Reader:
    def __init__(self, lines: list[Line], words: Mapping[str, str]) -> None:
        self.log = QueueLog()
        self._open: list[Passage] = []
        self._last = {(line.queue, line.call): line.at for line in lines}
        for line in lines:
            if line.event in words:
                self._dialplan(line, words[line.event])
            elif not self._caller(line) and not self._agent(line):
                self.log.uncounted[line.event] += 1

    def _caller(self, line: Line) -> bool:
        data = line.data
        if line.event == "ENTERQUEUE":
            number = data[1] if len(data) > 1 else ""
            self._enter(Passage(line.queue, line.call, line.at, number, line.number(2)))
        elif line.event == "CONNECT":
            passage = self._passage(line, line.number(0))
            self._answer(passage, line, line.at, line.number(0))
        elif line.event in ENDS:
            self._complete(line)
        elif line.event in EXITS:
            # position, position at entry, seconds; before them the key.
            place = 3 if line.event == "EXITWITHKEY" else 2
            passage = self._passage(line, line.number(place))
            passage.key = data[0] if place == 3 and data else ""
            passage.wait_seconds = line.number(place)
            if passage.wait_seconds is None:
                passage.wait_seconds = int(line.at - passage.entered_at)
            self._leave(passage, line.at, EXITS[line.event])
        else:
            return False
        return True

    def _agent(self, line: Line) -> bool:
        member = self.log.agents[line.agent] if line.agent else AgentCalls()
        if line.event == "RINGNOANSWER":
            member.offered += 1
            member.ring_no_answers += 1
            for passage in self._of(line):
                passage.ring_no_answers += 1
        elif line.event == "RINGCANCELED":
            member.offered += 1
        elif line.event == "WRAPUPSTART":
            member.wrapup_seconds += line.number(0) or 0
        else:
            return False
        return True

    def _complete(self, line: Line) -> None:
        # A transfer has its method or extension first; position is last, and talk and hold are before it.
        hold, talk = (line.number(0), line.number(1)) if line.event.startswith("COMPLETE") else (None, None)
        if ENDS[line.event] == "transfer" and len(line.data) >= 5:
            hold, talk = line.number(-3), line.number(-2)
        same = self._talk(line, hold, talk)
        if same is not None and same not in self._open:
            same.second_end = (ENDS[line.event], talk or 0)
            return
        passage = same or self._passage(line, (hold or 0) + (talk or 0))
        passage.call = line.call
        if passage.answered_at is None:
            self._answer(passage, line, line.at - (talk or 0), hold)
        passage.talk_seconds = int(line.at - (passage.answered_at or line.at)) if talk is None else talk
        passage.ended_by = ENDS[line.event]
        self._leave(passage, line.at, "answered")
        member = self.log.agents[passage.agent]
        member.completed += 1
        member.talk_seconds += passage.talk_seconds
        member.transferred += passage.ended_by == "transfer"

    def _dialplan(self, line: Line, outcome: str) -> None:
        if outcome in NEVER_IN:
            self._leave(self._enter(Passage(line.queue, line.call, line.at)), line.at, outcome)
        elif same := self._of(line):
            same[-1].wait_seconds = int(line.at - same[-1].entered_at)
            self._leave(same[-1], line.at, outcome)
        else:  # Asterisk has logged the exit already; the dialplan adds the reason.
            left = [p for p in self.log.passages if (p.queue, p.call) == (line.queue, line.call) and not p.agent]
            for passage in left[-1:]:
                passage.outcome = outcome

    def _enter(self, passage: Passage) -> Passage:
        self.log.passages.append(passage)
        self._open.append(passage)
        return passage

    def _answer(self, passage: Passage, line: Line, at: float, hold: int | None) -> None:
        passage.answered_at, passage.agent, passage.outcome = at, line.agent, "answered"
        passage.wait_seconds = int(at - passage.entered_at) if hold is None else hold
        self.log.agents[line.agent].offered += 1
        self.log.agents[line.agent].answered += 1

    def _leave(self, passage: Passage, at: float, outcome: str) -> None:
        passage.left_at, passage.outcome = at, outcome
        self._open.remove(passage)

    def _talk(self, line: Line, hold: int | None, talk: int | None) -> Passage | None:
        """Return the talk that a line ends, also a second time, or after the caller's id has changed."""
        if hold is None or talk is None or any(passage.agent == line.agent for passage in self._of(line)):
            return None
        starts = {"entered_at": line.at - hold - talk, "answered_at": line.at - talk}
        return next(
            (
                passage
                for passage in self.log.passages
                if (passage.queue, passage.agent) == (line.queue, line.agent)
                and passage.answered_at is not None
                and all(abs(getattr(passage, name) - at) <= LATER for name, at in starts.items())
            ),
            None,
        )

    def _of(self, line: Line) -> list[Passage]:
        return [passage for passage in self._open if (passage.queue, passage.call) == (line.queue, line.call)]

    def _passage(self, line: Line, seconds: int | None) -> Passage:
        """Return the open passage of a line that the caller entered ``seconds`` before it, if need be a new one.

        After an attended transfer into the queue the caller has another call id than at the entry.
        """
        entered = line.at - (seconds or 0)
        same = self._of(line) or [
            passage
            for passage in self._open
            if passage.queue == line.queue
            and abs(passage.entered_at - entered) <= LATER
            and passage.answered_at is None
            and self._last[passage.queue, passage.call] <= line.at
        ]
        passage = same[0] if same else self._enter(Passage(line.queue, line.call, entered))
        passage.call = line.call
        return passage
