"""Every error in its dialect's envelope, whatever raised it."""

import structlog
from aiohttp import web

from api.cospace import envelope as cospace
from api.errors import ApiError, Handler
from api.freshness import UnreadyError
from api.jade import envelope as jade
from services import database
from services.edge import ArchivedError, UnkeptError

logger = structlog.get_logger()


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler or the router raises into an answer."""
    try:
        return await handler(request)
    except ApiError as error:
        return _answer(request, error)
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
    except database.UNREACHABLE as error:
        logger.warning("database_unreachable", path=request.path, error=repr(error))
        return _answer(request, ApiError(503, "the database does not answer", "not-ready", {"Retry-After": "1"}))
    except Exception:
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
