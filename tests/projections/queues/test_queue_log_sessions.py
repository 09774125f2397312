"""Logins and pauses from lines of queue_log."""

from typing import Literal

from projections.queues.agent_sessions import AGENT_SESSIONS
from projections.queues.queue_log_sessions import EVENTS
from schemas.log import Disconnected, NewEvent, SnapshotListed
from tests.support.folding import FoldSpec, own


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

    def take(self, *events: NewEvent) -> "Sessions":
        """Fold other events."""
        self._spec.when(*events)
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


def listed(at: float, action: str = "QueueStatus", outcome: Literal["complete", "refused"] = "complete") -> NewEvent:
    return own(SnapshotListed(int(at), action, outcome), at)


def lost(at: float) -> NewEvent:
    return own(Disconnected("closed", at), at)


def test_amis_list_ends_sessions_of_lines() -> None:
    sessions = Sessions().fold("1000|NONE|sales|Alice|ADDMEMBER|", "1010|NONE|NONE|Alice|PAUSEALL|lunch")
    sessions.take(listed(1100)).fold("1200|NONE|NONE|Alice|UNPAUSEALL|", "1210|NONE|support|Alice|ADDMEMBER|")
    assert sessions.intervals == [("login", 1000, 1100, "sales"), ("pause", 1010, 1100, "lunch")]


def test_lines_imported_after_amis_list() -> None:
    sessions = Sessions().take(listed(1100)).fold("1000|NONE|sales|Alice|ADDMEMBER|")
    assert sessions.intervals == [("login", 1000, 1100, "sales")]
    assert sessions.fold("1050|NONE|sales|Alice|REMOVEMEMBER|").intervals == [("login", 1000, 1050, "sales")]
    assert sessions.fold("1150|NONE|sales|Alice|ADDMEMBER|").intervals == [("login", 1000, 1050, "sales")]


def test_lines_count_while_the_link_is_lost() -> None:
    sessions = Sessions().take(listed(1000), lost(1100)).fold("1110|NONE|sales|Alice|ADDMEMBER|")
    assert sessions.intervals == [("login", 1110, None, "sales")]
    sessions.take(listed(1200), lost(1300)).fold("1310|NONE|sales|Alice|ADDMEMBER|")
    assert sessions.intervals == [("login", 1110, 1200, "sales"), ("login", 1310, None, "sales")]
    sessions.fold("1320|NONE|sales|Alice|REMOVEMEMBER|").take(listed(1400))
    assert sessions.intervals == [("login", 1110, 1200, "sales"), ("login", 1310, 1320, "sales")]


def test_a_refused_list_ends_no_session() -> None:
    lines = ("1000|1.1|NONE|1001|AGENTLOGIN|SIP/1-1", "1001|NONE|sales|Alice|ADDMEMBER|")
    sessions = Sessions().fold(*lines).take(listed(1100, outcome="refused"), listed(1100, "Agents"))
    assert sessions.intervals == [("login", 1000, 1100, ""), ("login", 1001, None, "sales")]


def test_a_start_of_asterisk_ends_agents_logins() -> None:
    sessions = Sessions().fold(
        "1000|1.1|NONE|1001|AGENTLOGIN|SIP/1-1",
        "1001|NONE|sales|Alice|ADDMEMBER|",
        "1100|NONE|NONE|NONE|QUEUESTART|",
        "1200|1.2|NONE|1001|AGENTLOGIN|SIP/1-1",
        "1260|1.2|NONE|1001|AGENTLOGOFF|SIP/1-1|60",
    )
    assert sessions.intervals == [
        ("login", 1000, 1100, ""),
        ("login", 1001, None, "sales"),
        ("login", 1200, 1260, ""),
    ]
