"""Exactly once, whatever dies: the short form of `make chaos`."""

import shutil

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, run
from tests.chaos.scene import place
from tests.e2e.asterisk import Asterisk

PLAN = Plan(seed=1, faults=14, seconds=90)


@pytest.mark.parametrize("running", ["22"], indirect=True)
async def test_nothing_is_lost_whatever_dies(asterisk: Asterisk) -> None:
    folder = place()
    report = await run(asterisk, folder, PLAN, print, lambda *_: None)
    shutil.rmtree(folder)  # after a failure it stays
    assert report.faults.total() == PLAN.faults
    assert report.faults.keys() == {fault.name for fault in FAULTS}
    assert report.tally.links >= 6, "a link ends with every second kind of fault"
    assert report.tally.log > 5000
    assert report.tally.masked > 0
    assert report.tally.log + report.tally.in_gaps == report.tally.wire
    assert report.asked.outcomes["ActSucceeded"] > 10
    assert report.fold is not None
    assert report.fold.rows["call_records"] > 50
    assert report.view_rows > 100
