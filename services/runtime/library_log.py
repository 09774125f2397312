"""Sends log records of libraries (aiohttp, asyncio, asyncpg: Python's ``logging``) to Ringledger's log."""

import logging

import structlog

logger = structlog.get_logger()


class LibraryLog(logging.Handler):
    """A handler that passes each record to structlog, whose processors mask secrets and render tracebacks."""

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
        except Exception:  # noqa: BLE001 (a log line must not end its process)
            self.handleError(record)
