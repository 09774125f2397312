"""What is PostgreSQL's fault and may be over later, for every room; and what people can do about it."""

import errno

import asyncpg

UNREACHABLE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""Raised when PostgreSQL is away, starts, stops, refuses, is full or locked. (TimeoutError is an OSError.)

asyncpg raises InternalClientError when a connection ends between two messages of one query.
"""

LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
"""Those of UNREACHABLE after which the statement may have been committed: its answer is lost."""

MISCONFIGURED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""Those of UNREACHABLE that wait for a change of the settings."""

ANY = (*UNREACHABLE, asyncpg.PostgresError)
"""Whatever PostgreSQL or the way to it raises, our own mistakes in SQL too: for a task that must go on regardless."""

AWAY = "does not answer"
REASONS = {
    "25006": "takes no writes",
    "28": "refuses the login",
    "3D000": "does not have this database",
    "3F000": "holds no ledger of this version",
    "42703": "holds no ledger of this version",
    "42883": "holds no ledger of this version",
    "42P01": "holds no ledger of this version",
    "53100": "has no room left on its disk",
    "53200": "has no memory left",
    "53300": "takes no more connections",
    "55P03": "waits for a lock that something else holds",
    "57P03": "is starting or stopping",
}
"""By SQLSTATE, or the class that it begins with."""
ADVICE = {
    "25006": "point RINGLEDGER_DATABASE_URL at the primary server",
    "28": "check user and password in RINGLEDGER_DATABASE_URL",
    "3D000": "create it, or correct RINGLEDGER_DATABASE_URL",
    "3F000": "run `ringledger migrate`",
    "42703": "run `ringledger migrate`",
    "42883": "run `ringledger migrate`",
    "42P01": "run `ringledger migrate`",
    "53100": "make room there, then run this again",
    "53300": "raise max_connections or end other clients, then run this again",
}
AGAIN = "run this again later"


def reason(error: BaseException) -> str:
    """Return what PostgreSQL does, as a predicate such as "has no room left on its disk"."""
    return _by_state(error, REASONS) or (AWAY if isinstance(error, LOST) else "refuses")


def explained(error: BaseException) -> str:
    """Return one line for people: what PostgreSQL does, its own words, and what to do."""
    words = " ".join(str(error).split())
    said = f": {words}" if words else ""
    return f"PostgreSQL {reason(error)}{said}; {_by_state(error, ADVICE) or AGAIN}"


def of_postgresql(error: BaseException) -> bool:
    """Return whether this came from PostgreSQL or the way to it, and not from a file or a pipe of ours."""
    if isinstance(error, asyncpg.PostgresError):
        return True
    if isinstance(error, BrokenPipeError):
        return False
    if isinstance(error, OSError):
        return error.filename is None and error.errno not in {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF}
    return isinstance(error, UNREACHABLE)


def _by_state(error: BaseException, texts: dict[str, str]) -> str | None:
    state = getattr(error, "sqlstate", None) or ""
    return texts.get(state) or texts.get(state[:2])
