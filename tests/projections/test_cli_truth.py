"""Folded rows against what Asterisk's CLI printed at eight moments of each recording."""

from collections.abc import Callable

import pytest

from tests.captures import cli
from tests.support import cli_text as shown
from tests.support.folding import FoldSpec
from tests.support.recorded_events import snapshotted

ANSWER_SECONDS = 0.03
"""The CLI's answer was made within this time after the question; the next question came 13 ms later at the earliest."""


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_the_cli_output_matches_the_rows(capture: str) -> None:
    events = list(snapshotted(capture))
    tables = FoldSpec(*shown.MODELS)
    start = 0
    moments = cli(capture)
    assert len(moments) >= 21
    for asked, command, printed in moments:
        end = start
        while events[end].recorded < asked:
            end += 1
        tables.given(events[start:end])
        start = end
        expected = truth(command, printed)
        # Events that come while the CLI answers may be in its answer or not: one of these states is the one it saw.
        mismatch = ""
        while expected not in (
            ours := [print_rows(tables, command, int(at)) for at in (asked, asked + ANSWER_SECONDS)]
        ):
            mismatch = mismatch or f"{command} at {asked}:\n{ours[0]}\n--- not ---\n{expected}"
            if start == len(events) or events[start].recorded > asked + ANSWER_SECONDS:
                pytest.fail(mismatch)
            tables.given(events[start : start + 1])
            start += 1


def truth(command: str, printed: str) -> str:
    return shown.parking_told(printed) if command.startswith("parking") else shown.comparable(printed)


def print_rows(tables: FoldSpec, command: str, now: int, ahead: float = 0.0) -> str:
    prints: dict[str, Callable[[], str]] = {
        "queue show": lambda: shown.comparable(shown.queue_show(tables, now, ahead)),
        "agent show all": lambda: shown.comparable(shown.agent_show_all(tables)),
        "parking show default": lambda: shown.parking_show(tables, "default"),
    }
    return prints[command]()
