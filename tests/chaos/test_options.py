"""The options of `make chaos`."""

import pytest

from tests.chaos.__main__ import parsed


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [((), 1500.0), (("--faults=1000",), 7500.0), (("--faults=1000", "--duration=60"), 60.0)],
)
def test_the_time_limit_follows_the_faults(arguments: tuple[str, ...], seconds: float) -> None:
    assert parsed(arguments).duration == seconds
