"""Why a stream ends that its client would have gone on with."""

from projections.engine.step import FoldError
from services.log.archives import ArchivedError


class EndedError(Exception):
    """``code`` is a word for programs, the message one for people, ``close`` a websocket's closing code (RFC 6455).

    Whoever may still read can go on where the last message was, with its id.
    """

    def __init__(self, code: str, message: str, close: int) -> None:
        super().__init__(message)
        self.code = code
        self.close = close


def archived(error: ArchivedError) -> EndedError:
    return EndedError("archived", str(error), 1008)


def broken(error: FoldError) -> EndedError:
    return EndedError("broken", f"read model {error} cannot be folded", 1011)


def failed() -> EndedError:
    return EndedError("internal-error", "internal error", 1011)


def forbidden() -> EndedError:
    return EndedError("access-denied", "permission admin is needed", 1008)


def logged_out() -> EndedError:
    return EndedError("logged-out", "the token has ended; log in again", 1008)


def redacted() -> EndedError:
    return EndedError("redacted", "the log was redacted; read the views anew", 1012)


def rewound() -> EndedError:
    return EndedError("rewound", "the log lost its newest events; read the views again and begin without an id", 1012)


def slow() -> EndedError:
    return EndedError("slow", "read too slowly; go on with the last id", 1013)


def stopping() -> EndedError:
    return EndedError("stopping", "this server stops; go on with the last id", 1001)
