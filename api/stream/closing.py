"""The reasons for which the server closes a stream."""

from projections.engine.step import FoldError
from services.log.archives import ArchivedError


class StreamClosed(Exception):
    """``code`` is a word for programs, the message is for people, ``close`` is a websocket's close code (RFC 6455).

    A client that may still read can continue after its last message, with its id.
    """

    def __init__(self, code: str, message: str, close: int) -> None:
        super().__init__(message)
        self.code = code
        self.close = close


def archived(error: ArchivedError) -> StreamClosed:
    return StreamClosed("archived", str(error), 1008)


def broken(error: FoldError) -> StreamClosed:
    return StreamClosed("broken", f"read model {error} cannot be folded", 1011)


def failed() -> StreamClosed:
    return StreamClosed("internal-error", "internal error", 1011)


def forbidden() -> StreamClosed:
    return StreamClosed("access-denied", "permission supervisor is needed", 1008)


def logged_out() -> StreamClosed:
    return StreamClosed("logged-out", "the token has ended; log in again", 1008)


def redacted() -> StreamClosed:
    return StreamClosed("redacted", "the log was redacted; read the views again", 1012)


def rewound() -> StreamClosed:
    return StreamClosed("rewound", "the log lost its newest events; read the views again and begin without an id", 1012)


def slow() -> StreamClosed:
    return StreamClosed("slow", "read too slowly; continue with the last id", 1013)


def stopping() -> StreamClosed:
    return StreamClosed("stopping", "this server stops; continue with the last id", 1001)
