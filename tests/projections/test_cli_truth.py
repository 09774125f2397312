"""Folded rows equal the output of Asterisk's CLI at eight moments of each recording."""

import pytest

from tests.captures import cli
from tests.support import cli_text
from tests.support.cli_truth import ANSWER_SECONDS, expected_text, print_rows
from tests.support.folding import FoldSpec
from tests.support.recorded_events import snapshotted


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
