"""The log of an outage: its length does not depend on how many requests and attempts fail."""

from structlog.testing import capture_logs

from services.runtime.outage import LINE_SECONDS, QUIET_SECONDS, Outage


class Seconds:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_logged_once_per_minute() -> None:
    clock = Seconds()
    outage = Outage("database_unreachable", "database_reachable", clock)
    with capture_logs() as lines:
        for second in range(601):
            clock.now = float(second)
            outage.fail(TimeoutError("why"), path="/x")
            outage.recover()
        clock.now += QUIET_SECONDS
        outage.recover()
        outage.recover()
    first, *minutes, last = lines
    assert first == {
        "event": "database_unreachable",
        "log_level": "warning",
        "failures": 1,
        "error": "TimeoutError('why')",
        "path": "/x",
    }
    assert [(line["event"], line["failures"]) for line in minutes] == [("database_unreachable", 60)] * 10
    assert (last["event"], last["after"], last["failures"]) == ("database_reachable", 605.0, 0)


def test_a_second_outage_is_logged_at_once() -> None:
    clock = Seconds()
    outage = Outage("database_unreachable", "database_reachable", clock)
    with capture_logs() as lines:
        outage.recover()
        for _ in range(2):
            outage.fail(TimeoutError())
            clock.now += QUIET_SECONDS
            outage.recover()
    assert [line["event"] for line in lines] == ["database_unreachable", "database_reachable"] * 2
    assert LINE_SECONDS > QUIET_SECONDS
