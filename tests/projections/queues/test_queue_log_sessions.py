"""Logins and pauses from lines of queue_log."""

from projections.queues.agent_sessions import AGENT_SESSIONS
from projections.queues.queue_log_sessions import EVENTS
from schemas.log import NewEvent
from tests.support.folding import FoldSpec


class Sessions:
    """The rows of agents' sessions, folded from lines."""

    def __init__(self) -> None:
        self._spec = FoldSpec(AGENT_SESSIONS)

    def fold(self, *lines: str) -> "Sessions":
        for line in lines:
            at, _, _, _, event, *_ = line.split("|")
            assert event in EVENTS
            self._spec.when(NewEvent("queue_log", event, None, float(at), f"{line}\n".encode()))
        return self

    @property
    def intervals(self) -> list[tuple[str, float, float | None, str]]:
        rows = self._spec.then().values()
        items = [
            (r.kind, r.started_at.timestamp(), r.ended_at.timestamp() if r.ended_at else None, r.reason or r.queue)
            for r in rows
        ]
        return sorted(items, key=lambda one: one[:2])


def test_a_login_lasts_from_line_to_line() -> None:
    sessions = Sessions().fold(
        "1000|1.1|NONE|1001|AGENTLOGIN|SIP/1-1",
        "1060|1.1|NONE|1001|AGENTLOGOFF|SIP/1-1|60",
        "1100|NONE|sales|Alice|ADDMEMBER|",
        "1101|NONE|sales|Alice|ADDMEMBER|",
        "1160.5|NONE|sales|Alice|REMOVEMEMBER|",
    )
    assert sessions.intervals == [("login", 1000, 1060, ""), ("login", 1100, 1160.5, "sales")]


def test_a_logoff_without_login_has_its_seconds() -> None:
    lines = ("1000|1.1|NONE|1001|AGENTLOGOFF|SIP/1-1|600", "1000|NONE|NONE|1002|AGENTCALLBACKLOGOFF|10@x|30")
    assert Sessions().fold(*lines).intervals == [("login", 400, 1000, ""), ("login", 970, 1000, "")]
    assert Sessions().fold("1000|1.1|NONE|1001|AGENTLOGOFF|SIP/1-1").intervals == []


def test_a_second_pauseall_changes_nothing() -> None:
    sessions = Sessions().fold(
        "1000|NONE|NONE|Alice|UNPAUSEALL|",
        "1010|NONE|NONE|Alice|PAUSEALL|lunch",
        "1020|NONE|NONE|Alice|PAUSEALL|office",
        "1030|NONE|NONE|Alice|UNPAUSEALL|",
        "1040|NONE|NONE|Alice|UNPAUSEALL|",
    )
    assert sessions.intervals == [("pause", 1010, 1030, "lunch")]


def test_a_pause_in_one_queue_is_none() -> None:
    sessions = Sessions().fold(
        "1000|NONE|sales|Alice|ADDMEMBER|",
        "1000|NONE|support|Alice|ADDMEMBER|",
        "1010|NONE|sales|Alice|PAUSE|lunch",
    )
    assert [one[0] for one in sessions.intervals] == ["login", "login"]
    sessions.fold("1020|NONE|support|Alice|PAUSE|lunch", "1030|NONE|sales|Alice|UNPAUSE|")
    assert sessions.intervals[-1] == ("pause", 1020, 1030, "lunch")


def test_a_pause_ends_with_the_last_queue() -> None:
    sessions = Sessions().fold(
        "1000|NONE|sales|Alice|ADDMEMBER|",
        "1010|NONE|sales|Alice|PAUSE|lunch",
        "1010|NONE|NONE|Alice|PAUSEALL|lunch",
        "1030|NONE|sales|Alice|REMOVEMEMBER|",
    )
    assert sessions.intervals == [("login", 1000, 1030, "sales"), ("pause", 1010, 1030, "lunch")]
