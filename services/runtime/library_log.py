"""What libraries log by Python's ``logging`` (aiohttp, asyncio, asyncpg), as lines of our own log, without secrets."""

import logging

import structlog

logger = structlog.get_logger()


class LibraryLog(logging.Handler):
    """Passes each record to structlog, whose processors mask secrets and render tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line with the library's name and its message."""
        try:
            logger.log(
                record.levelno,
                "library_log",
                library=record.name,
                message=record.getMessage(),
                exc_info=record.exc_info,
            )
        except Exception:  # noqa: BLE001 (a line of a log must not end what it describes)
            self.handleError(record)
