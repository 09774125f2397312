"""What a process tells of an error in its own log."""

import json
import logging
import sys

import pytest
import structlog

from services.runtime.library_log import LibraryLog
from services.runtime.process import configure_logging


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


def test_a_library_logs_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test")
    library = logging.getLogger("tests.library")
    library.propagate = False
    library.addHandler(LibraryLog())
    try:
        raise ValueError("b'GET /healthz?authtoken=hunter2 HTTP/9.9'\n b'Authorization: Bearer hunter2hunter2'")  # noqa: TRY301
    except ValueError:
        library.exception("request of %s failed", "ami://u:hunter2@h")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    text = capsys.readouterr().err
    line = json.loads(text)
    assert (line["event"], line["library"], line["level"]) == ("library_log", "tests.library", "error")
    assert line["message"] == "request of ami://u:********@h failed"
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert "hunter2" not in text
