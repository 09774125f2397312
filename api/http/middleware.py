"""Errors as responses of the dialect that the matched route belongs to."""

import structlog
from aiohttp import web

from api.app_keys import HEARTBEAT
from api.http.dialect import dialect_of
from api.http.errors import ApiError, Handler, Problem, problem_of
from services.database.errors import UNREACHABLE, reason
from services.log.archives import ArchivedError
from services.log.writer import UnknownAppendError
from services.projector.checkpoints.checkpoints import UnreadyError
from services.projector.initial_state import NoInitialStateError
from services.runtime.errors import CommandError

RETRY = {"Retry-After": "1"}
UNKNOWN = (
    "the database did not answer in time: this may have been done, or not;"
    " the same request with the same Idempotency-Key is done once"
)

logger = structlog.get_logger()


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler or the router raises into a response."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allow = {"Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))}
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=allow)
        problem = Problem(405, "method not allowed", "wrong-method", allow)
    except Exception as error:  # noqa: BLE001 - every error has a response; `_problem` logs what is unexpected
        problem = _problem(request, error)
    return dialect_of(request).failure(problem)


def _problem(request: web.Request, error: Exception) -> Problem:
    match error:
        case ApiError():
            return error.problem
        case CommandError():
            return problem_of(error)
        case web.HTTPException():
            return Problem(error.status, error.reason.lower())
        case ArchivedError():
            return Problem(410, str(error), "archived", {"X-Ledger-Archive": error.archive.file})
        case NoInitialStateError():
            return Problem(410, str(error), "archived")
        case UnreadyError():
            return Problem(503, str(error), "not-ready", RETRY)
        case UnknownAppendError():
            logger.warning("append_unknown", path=request.path, error=repr(error))
            return Problem(503, UNKNOWN, "not-ready", RETRY)
    # asyncpg's error for a value that cannot be sent is a ValueError, and no fault of PostgreSQL's.
    if isinstance(error, UNREACHABLE) and not isinstance(error, ValueError):
        request.app[HEARTBEAT].outage.fail(error, path=request.path)
        return Problem(503, f"the database {reason(error)}", "not-ready", RETRY)
    # The path without its query: that may hold a token.
    logger.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return Problem(500, "internal error", "internal-error")
