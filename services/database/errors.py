"""Errors of PostgreSQL and the connection to it: which of them may pass, and what an operator can do about them."""

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
"""PostgreSQL is away, starts, stops, refuses, is full or locked; a retry may help. (TimeoutError is an OSError.)

asyncpg raises InternalClientError when a connection ends between two messages of one query.
"""

CONNECTION_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
"""Errors of UNREACHABLE after which the statement may have been committed: the answer is lost."""

MISCONFIGURED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""Errors of UNREACHABLE that last until the settings change."""

DATABASE_ERRORS = (*UNREACHABLE, asyncpg.PostgresError)
"""All errors of PostgreSQL, the connection, and mistakes in Ringledger's SQL: for tasks that must always go on."""

NO_LEDGER = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
)
"""The database has no schema of this version; the advice is `NO_LEDGER_MESSAGE`."""
NO_LEDGER_MESSAGE = "the database holds no ledger of this version; run `ringledger migrate`"


class NoLedgerError(Exception):
    """The database has no ledger of this version; the message names the remedy."""

    def __init__(self) -> None:
        super().__init__(NO_LEDGER_MESSAGE)


NO_ANSWER = "does not answer"
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
"""The reason for each SQLSTATE, or its class (the first two characters)."""
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
RETRY_ADVICE = "run this again later"


def reason(error: BaseException) -> str:
    """Return the reason as a predicate for PostgreSQL, such as "has no room left on its disk"."""
    return _by_state(error, REASONS) or (NO_ANSWER if isinstance(error, CONNECTION_LOST) else "refuses")


def explain(error: BaseException) -> str:
    """Return one line: the reason, PostgreSQL's own message, and advice."""
    message = " ".join(str(error).split())
    detail = f": {message}" if message else ""
    return f"PostgreSQL {reason(error)}{detail}; {_by_state(error, ADVICE) or RETRY_ADVICE}"


def is_from_postgresql(error: BaseException) -> bool:
    """Return whether an error comes from PostgreSQL or the connection to it, and not from a file or pipe."""
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
