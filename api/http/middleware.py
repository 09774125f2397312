"""Every error in its dialect's envelope, whatever raised it."""

import structlog
from aiohttp import web

from api.app_keys import HEARTBEAT
from api.cospace import envelope as cospace
from api.http.errors import ApiError, Handler, as_http
from api.jade import envelope as jade
from services.database import faults
from services.database.faults import UNREACHABLE
from services.log.archives import ArchivedError, UnkeptError
from services.log.writer import UnknownAppendError
from services.projector.checkpoints import UnreadyError
from services.runtime.errors import CommandError

RETRY = {"Retry-After": "1"}
UNKNOWN = (
    "the database did not answer in time: this may have been done, or not;"
    " the same request with the same Idempotency-Key is done once"
)

logger = structlog.get_logger()


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler or the router raises into an answer."""
    try:
        return await handler(request)
    except ApiError as error:
        return _answer(request, error)
    except CommandError as error:
        return _answer(request, as_http(error))
    except web.HTTPMethodNotAllowed as error:
        allow = {"Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))}
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=allow)
        return _answer(request, ApiError(405, "method not allowed", "wrong-method", allow))
    except web.HTTPException as error:
        return _answer(request, ApiError(error.status, error.reason.lower()))
    except ArchivedError as error:
        return _answer(request, ApiError(410, str(error), "archived", {"X-Ledger-Archive": error.archive.file}))
    except UnkeptError as error:
        return _answer(request, ApiError(410, str(error), "archived"))
    except UnreadyError as error:
        return _answer(request, ApiError(503, str(error), "not-ready", {"Retry-After": "1"}))
    except UnknownAppendError as error:
        logger.warning("append_unknown", path=request.path, error=repr(error))
        return _answer(request, ApiError(503, UNKNOWN, "not-ready", RETRY))
    except Exception as error:
        # asyncpg's error for a value that cannot be sent is a ValueError, and no fault of PostgreSQL's.
        if isinstance(error, UNREACHABLE) and not isinstance(error, ValueError):
            request.app[HEARTBEAT].outage.fail(error, path=request.path)
            return _answer(request, ApiError(503, f"the database {faults.reason(error)}", "not-ready", RETRY))
        # The path without its query: that may hold a token.
        logger.exception("request_failed", method=request.method, path=request.path)
        return _answer(request, ApiError(500, "internal error", "internal-error"))


def _answer(request: web.Request, error: ApiError) -> web.Response:
    dialect = cospace if request.path.startswith("/api/") else jade
    return web.Response(
        status=error.status,
        body=dialect.failure(error.status, error.message, error.code, error.more),
        headers={"Cache-Control": "no-store", **error.headers},
        content_type="application/json",
        charset="utf-8",
    )
