"""Folded rows equal the output of Asterisk's CLI at eight moments of each recording."""

from collections.abc import Callable

import pytest

from tests.captures import cli
from tests.support import cli_text
from tests.support.folding import FoldSpec
from tests.support.recorded_events import snapshotted

ANSWER_SECONDS = 0.03
"""The CLI answered a command within this time; the next command came at least 13 ms after that."""


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_the_cli_output_matches_the_rows(capture: str) -> None:
    events = list(snapshotted(capture))
    tables = FoldSpec(*cli_text.MODELS)
    start = 0
    moments = cli(capture)
    assert len(moments) >= 21
    for sent_at, command, output in moments:
        end = start
        while events[end].recorded < sent_at:
            end += 1
        tables.given(events[start:end])
        start = end
        expected = expected_text(command, output)
        # The CLI's answer may or may not include events that arrive meanwhile: one of these states must equal it.
        mismatch = ""
        while expected not in (
            outputs := [print_rows(tables, command, int(at)) for at in (sent_at, sent_at + ANSWER_SECONDS)]
        ):
            mismatch = mismatch or f"{command} at {sent_at}:\n{outputs[0]}\n--- not ---\n{expected}"
            if start == len(events) or events[start].recorded > sent_at + ANSWER_SECONDS:
                pytest.fail(mismatch)
            tables.given(events[start : start + 1])
            start += 1


def expected_text(command: str, output: str) -> str:
    return cli_text.parking_lines(output) if command.startswith("parking") else cli_text.comparable(output)


def print_rows(tables: FoldSpec, command: str, now: int, ahead: float = 0.0) -> str:
    prints: dict[str, Callable[[], str]] = {
        "queue show": lambda: cli_text.comparable(cli_text.queue_show(tables, now, ahead)),
        "agent show all": lambda: cli_text.comparable(cli_text.agent_show_all(tables)),
        "parking show default": lambda: cli_text.parking_show(tables, "default"),
    }
    return prints[command]()
