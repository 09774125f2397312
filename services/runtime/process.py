"""The common part of all processes: log, event loop, signals."""

import asyncio
import io
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TextIO

import structlog
import uvloop
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import ExcInfo

from services.runtime.library_log import LibraryLog
from services.runtime.masking.text import mask_text, mask_value

GRACE_SECONDS = 8.0
# Without local variables, which structlog and rich show by default: they hold secrets and request bodies.
TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def mask_log_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the secrets of a log line (a processor of structlog)."""
    for name, value in event.items():
        if name != "exc_info":
            event[name] = mask_value(name, value)
    return event


def write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback for a terminal, without secrets in the error's message."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    out.write(mask_text(written.getvalue()))


def configure_logging(process: str, level: int = logging.INFO) -> None:
    """Log to standard error: plain lines on a terminal, JSON otherwise."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [TRACEBACKS]),
            mask_log_line,
            structlog.dev.ConsoleRenderer(exception_formatter=write_traceback)
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, handlers=[LibraryLog()])
    # services/asterisk/ami/session.py reports the same errors with more detail.
    logging.getLogger("panoramisk").setLevel(logging.CRITICAL)


def run(
    process: str,
    main: Callable[[asyncio.Event], Awaitable[None]],
    grace: float = GRACE_SECONDS,
    level: int = logging.INFO,
) -> None:
    """Run ``main`` until it returns; SIGTERM, SIGINT and SIGHUP set its event and give it ``grace`` seconds."""
    configure_logging(process, level)
    uvloop.run(_until_stopped(main, grace))


async def _until_stopped(main: Callable[[asyncio.Event], Awaitable[None]], grace: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        loop.add_signal_handler(signal.SIGHUP, stop.set)
    task = asyncio.ensure_future(main(stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        done, _ = await asyncio.wait([task], timeout=grace)
        if not done:
            structlog.get_logger().error("stop_took_too_long", seconds=grace)
            task.cancel()
    stopping.cancel()
    await task
