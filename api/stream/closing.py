"""Why a stream ends that its client would have gone on with."""

from projections.engine.step import FoldError
from services.log.archives import ArchivedError


class StreamClosedError(Exception):
    """``code`` is a word for programs, the message one for people, ``close`` a websocket's closing code (RFC 6455).

    Whoever may still read can go on where the last message was, with its id.
    """

    def __init__(self, code: str, message: str, close: int) -> None:
        super().__init__(message)
        self.code = code
        self.close = close


def archived(error: ArchivedError) -> StreamClosedError:
    return StreamClosedError("archived", str(error), 1008)


def broken(error: FoldError) -> StreamClosedError:
    return StreamClosedError("broken", f"read model {error} cannot be folded", 1011)


def failed() -> StreamClosedError:
    return StreamClosedError("internal-error", "internal error", 1011)


def forbidden() -> StreamClosedError:
    return StreamClosedError("access-denied", "permission admin is needed", 1008)


def logged_out() -> StreamClosedError:
    return StreamClosedError("logged-out", "the token has ended; log in again", 1008)


def redacted() -> StreamClosedError:
    return StreamClosedError("redacted", "the log was redacted; read the views anew", 1012)


def rewound() -> StreamClosedError:
    return StreamClosedError(
        "rewound", "the log lost its newest events; read the views again and begin without an id", 1012
    )


def slow() -> StreamClosedError:
    return StreamClosedError("slow", "read too slowly; go on with the last id", 1013)


def stopping() -> StreamClosedError:
    return StreamClosedError("stopping", "this server stops; go on with the last id", 1001)
