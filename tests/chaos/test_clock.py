"""Times that a clock gave which was set back now and then."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clock import BACK_SECONDS, Eras, FakeClock

BEGAN = 1_000_000.0
"""True time at which the run begins; the clock is set back a hundred seconds later, and once more after another two."""


@pytest.fixture
def eras() -> Eras:
    eras = Eras(BEGAN)
    eras.set_back(BEGAN + 100, BACK_SECONDS)
    eras.set_back(BEGAN + 300, BACK_SECONDS)
    return eras


@pytest.mark.parametrize("after", [0.0, 50.0, 99.5])
def test_a_time_before_the_first_change_is_true(eras: Eras, after: float) -> None:
    assert eras.true(BEGAN + after) == BEGAN + after


@pytest.mark.parametrize(("after", "changes"), [(100.0, 1), (299.0, 1), (300.0, 2), (5000.0, 2)])
def test_a_time_after_a_change_is_shifted(eras: Eras, after: float, changes: int) -> None:
    assert eras.true(BEGAN + after - changes * BACK_SECONDS) == BEGAN + after


@pytest.mark.parametrize(("true", "changes"), [(-3.0, 0), (101.5, 0), (98.5, 1), (301.0, 1), (297.0, 2)])
def test_a_time_between_eras_has_the_nearest(eras: Eras, true: float, changes: int) -> None:
    assert eras.true(BEGAN + true - changes * BACK_SECONDS) == BEGAN + true


def test_only_the_wall_clock_goes_back(tmp_path: Path) -> None:
    clock = FakeClock(tmp_path)
    script = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), time.sleep(0.01), flush=True)"
    environ, pipe = clock.environ, subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            before = time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            wall, passed = map(float, process.stdout.readline().split()[:2])
            assert before[0] <= clock.eras.true(wall) <= time.time()
            assert before[1] <= passed <= time.monotonic()
            clock.set_back()
        process.stdin.close()
    assert clock.eras.offset == -3 * BACK_SECONDS
