"""Exactly once, whatever dies: the short form of `make chaos`."""

import math
import shutil

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, run
from tests.chaos.scene import place
from tests.e2e.asterisk import Asterisk

PLAN = Plan(seed=1, faults=len(FAULTS), seconds=math.inf)
"""Each fault once, however long the machine takes for it."""


@pytest.mark.parametrize("running", ["22"], indirect=True)
async def test_nothing_is_lost_whatever_dies(asterisk: Asterisk) -> None:
    folder = place()
    report = await run(asterisk, folder, PLAN, print, lambda *_: None)
    shutil.rmtree(folder)  # after a failure it stays
    assert report.faults.total() == PLAN.faults
    assert report.faults.keys() == {fault.name for fault in FAULTS}
    assert report.tally.links > 3, "each of the three cuts ends a link of its own"
    assert report.tally.masked > 0
    assert report.tally.log + report.tally.in_gaps == report.tally.wire
    # How many of each there are depends on how fast the machine is; that there are some makes the comparison one.
    assert report.act_tally.outcomes["ActSucceeded"] > 0
    assert report.fold is not None
    assert report.fold.rows["call_records"] > 0
    assert report.view_rows > 0
