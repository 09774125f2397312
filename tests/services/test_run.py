"""What a process tells of an error in its own log."""

import sys

import pytest
import structlog

from services.run import configure_logging


def raising(secret: str) -> None:
    held = {"password": secret}
    raise RuntimeError(f"told of {len(held)}")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_tells_no_local_variable(
    terminal: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure_logging("test")
    try:
        raising(f"hunter-{1 + 1}")
    except RuntimeError:
        structlog.get_logger().exception("it_failed")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    said = capsys.readouterr().err
    assert "it_failed" in said
    assert "told of 1" in said
    assert "raising" in said
    assert "hunter-2" not in said
