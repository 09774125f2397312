"""The plain reader of queue_log against Asterisk's own CLI, and each rule of the file by hand."""

import re
from collections.abc import Iterator

import pytest

from tests.captures import cli, truth
from tests.support.queue_log_cases import RULES
from tests.support.queue_log_sessions import Sessions
from tests.support.queue_log_truth import Passage, QueueLog, read_queue_log

QUEUE = re.compile(
    r"^(\S+) has (\d+) calls .*?\((\d+)s holdtime, (\d+)s talktime\).*?C:(\d+), A:(\d+),.*?\n(.*?)(?=^\S|\Z)",
    re.MULTILINE | re.DOTALL,
)
MEMBER = re.compile(r"^ {6}(.+?) \((?:Local|PJSIP)(.*)\) has taken (no|\d+) calls", re.MULTILINE)
PAUSE = re.compile(r"\(paused:(.*?) was (\d+) secs ago\)")
LEFT = ("abandoned", "timeout", "left_empty", "withdrawn")
"""Asterisk counts them all as abandoned."""


def prefixes(name: str, at: float) -> Iterator[str]:
    """Yield the file as it may have been at a time: its times are whole seconds."""
    lines = truth(name, "queue_log").splitlines()
    for count in range(len(lines) + 1):
        before, after = lines[:count], lines[count:]
        if (not before or float(before[-1].split("|")[0]) <= at) and (not after or float(after[0][:10]) >= int(at) - 1):
            yield "\n".join(before)


def averages(passages: list[Passage]) -> tuple[int, int]:
    """Return holdtime and talktime as app_queue.c computes them: three parts of the old value, one of the new."""
    moments = [(p.answered_at, 0, p) for p in passages if p.answered_at is not None]
    moments += [(p.left_at, 1, p) for p in passages if p.left_at is not None and p.outcome in {"answered", *LEFT}]
    hold = talk = completed = abandoned = 0
    for _, is_end, p in sorted(moments, key=lambda moment: moment[:2]):
        if not is_end:
            wait = p.wait_seconds or 0
            hold = (3 * hold + wait) >> 2 if completed + abandoned else wait
        elif p.outcome == "answered":
            completed += 1
            talk = (3 * talk + (p.talk_seconds or 0)) >> 2 if completed > 1 else p.talk_seconds or 0
        else:
            abandoned += 1
    return hold, talk


def figures(log: QueueLog, queue: str) -> tuple[int, ...]:
    """Return the callers, holdtime, talktime, completed and abandoned calls of a queue."""
    passages = [p for p in log.passages if p.queue == queue]
    completed = sum(p.outcome == "answered" and p.left_at is not None for p in passages)
    outcomes = log.outcomes(queue)
    return outcomes["waiting"], *averages(passages), completed, sum(outcomes[word] for word in LEFT)


def is_shown(text: str, at: float, output: str) -> bool:
    """Return whether a file agrees with what `queue show` printed."""
    log, sessions = read_queue_log(text), Sessions(text)
    for queue, *numbers, members in QUEUE.findall(output):
        if figures(log, queue) != tuple(map(int, numbers)):
            return False
        for name, rest, calls in MEMBER.findall(members):
            taken = sum((p.queue, p.agent) == (queue, name) and p.left_at is not None for p in log.passages)
            if taken != (0 if calls == "no" else int(calls)):
                return False
            shown = PAUSE.search(rest)
            paused = sessions.paused(name, queue)
            if (shown is not None) != bool(paused):
                return False
            if shown and (paused[0].text != shown[1] or abs(at - int(shown[2]) - paused[0].started_at) > 2):
                return False
    return True


@pytest.mark.parametrize("name", ["rich22", "rich16"])
def test_passages_and_pauses_equal_queue_show(name: str) -> None:
    outputs = [(at, output) for at, command, output in cli(name) if command == "queue show"]
    assert len(outputs) > 5
    for at, output in outputs:
        assert len(QUEUE.findall(output)) >= 5
        assert any(is_shown(text, at, output) for text in prefixes(name, at)), at


@pytest.mark.parametrize("name", ["rich22", "rich16"])
def test_logins_equal_agent_show(name: str) -> None:
    shown = [(at, output) for at, command, output in cli(name) if command == "agent show all"]
    states = 0
    for at, output in shown:
        agents = re.findall(r"^(\d+) +\w+ \w+ +(UNAVAILABLE|\w+) +(PJSIP\S+)?", output, re.MULTILINE)
        states += sum(state != "UNAVAILABLE" for _, state, _ in agents)

        def is_equal(text: str, agents: list[tuple[str, str, str]] = agents) -> bool:
            sessions = Sessions(text)
            return all(
                [login.text for login in sessions.logged_in(agent)] == ([channel] if channel else [])
                for agent, _, channel in agents
            )

        assert any(map(is_equal, prefixes(name, at))), at
    assert states > 5


@pytest.mark.parametrize("name", ["rich22", "rich16"])
def test_a_recording_has_no_unknown_lines(name: str) -> None:
    text = truth(name, "queue_log")
    log = read_queue_log(text)
    entered = sum("|ENTERQUEUE|" in line for line in text.splitlines())
    assert len(log.passages) == entered > 50
    assert {p.outcome for p in log.passages} >= {"answered", "abandoned", "timeout", "withdrawn"}
    assert set(log.uncounted) <= {
        *("AGENTLOGIN", "AGENTLOGOFF", "PAUSE", "PAUSEALL", "UNPAUSE", "UNPAUSEALL", "ADDMEMBER", "REMOVEMEMBER"),
        *("RINGINUSE", "PENALTY", "INFO", "CONFIGRELOAD", "QUEUESTART"),
    }
    for agent, calls in log.agents.items():
        answered = [p for p in log.passages if p.agent == agent]
        assert (calls.answered, calls.talk_seconds) == (len(answered), sum(p.talk_seconds or 0 for p in answered))


@pytest.mark.parametrize("case", RULES)
def test_a_rule_of_the_file(case: str) -> None:
    text, expected = RULES[case]
    passages = read_queue_log(text).passages
    assert [
        (p.queue, p.entered_at, p.answered_at, p.left_at, p.wait_seconds, p.talk_seconds, p.outcome, p.ended_by)
        for p in passages
    ] == expected


def test_a_setting_adds_a_word() -> None:
    log = read_queue_log("100|1.1|q|NONE|NIGHT|\n", {"NIGHT": "closed"})
    assert log.outcomes("q") == {"closed": 1}
    assert read_queue_log("100|1.1|q|NONE|NIGHT|\n").uncounted == {"NIGHT": 1}


def test_pauses_and_logins_that_overlap() -> None:
    sessions = Sessions(
        "100|NONE|NONE|Ann|PAUSEALL|lunch\n110|NONE|NONE|Ann|PAUSEALL|again\n120|NONE|NONE|Ann|UNPAUSEALL|\n"
        "130|NONE|NONE|Ann|UNPAUSEALL|\n200|NONE|q|Ann|PAUSE|\n210|NONE|r|Ann|PAUSE|\n230|NONE|q|Ann|UNPAUSE|\n"
        "300|1.1|NONE|7|AGENTLOGOFF|SIP/7|40\n310|1.2|NONE|7|AGENTLOGIN|SIP/7\n320|1.2|NONE|7|AGENTLOGOFF|SIP/7|10\n"
        "330|1.2|NONE|7|AGENTCALLBACKLOGIN|200@ctx\n"
    )
    assert sessions.pause_seconds("Ann", 1000) == 20 + 20
    assert [p.text for p in sessions.pauses] == ["lunch", "", ""]
    assert sessions.login_seconds("7", 340) == 40 + 10 + 10
    assert [login.text for login in sessions.logged_in("7")] == ["200@ctx"]


def test_a_second_end_of_a_talk_is_kept() -> None:
    """Two threads of Asterisk may each log an end of one talk."""
    lines = "100|1.1|q|Ann|CONNECT|0|1.2|0\n109|1.1|q|Ann|COMPLETECALLER|0|9|1\n110|1.1|q|Ann|BLINDTRANSFER|2|c|0|10|1"
    log = read_queue_log(lines)
    assert [(p.ended_by, p.talk_seconds, p.second_end) for p in log.passages] == [("caller", 9, ("transfer", 10))]
    assert (log.agents["Ann"].completed, log.agents["Ann"].talk_seconds) == (1, 9)
