"""Errors in the log of a process."""

import json
import logging
import sys

import pytest
import structlog

from services.runtime.library_log import LibraryLog
from services.runtime.process import configure_logging


def raising(secret: str) -> None:
    local = {"password": secret}
    raise RuntimeError(f"value {len(local)}")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_has_no_local_variables(
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
    lines = capsys.readouterr().err
    assert "it_failed" in lines
    assert "value 1" in lines
    assert "raising" in lines
    assert "hunter-2" not in lines


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
