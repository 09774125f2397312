"""The scene of these tests, and its short timeouts."""

from collections.abc import AsyncIterator

import pytest

from services.commander.async_agi import driver
from tests.support.async_agi import Scene, scenes


@pytest.fixture
async def scene(url: str) -> AsyncIterator[Scene]:
    async with scenes(url, "pbx") as (one,):
        yield one


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts to a hundredth."""
    monkeypatch.setattr(driver, "DOUBT_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(driver, "SETTLE_SECONDS", 0.2)
