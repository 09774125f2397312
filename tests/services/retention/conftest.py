"""The fixture of all tests of retention."""

import pytest


@pytest.fixture(autouse=True)
def _no_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a redaction end at once: no API process has to notice it. Those of tests/api wait as the product does."""
    monkeypatch.setattr("services.retention.redact_models.NOTICE_SECONDS", 0.0)
