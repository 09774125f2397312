"""Requests from pages of other sites, with the cookie of their visitor.

A browser adds the cookie to requests of any page. A token in the query or in ``Authorization`` comes from code that
has the token, so the page it runs in does not matter. A login by HTTP Basic sets no cookie and is allowed too.
The order of the checks is that of Go's ``http.CrossOriginProtection``.
"""

from urllib.parse import urlsplit

from aiohttp import web

from api.app_keys import SETTINGS
from api.http.auth import is_by_cookie
from api.http.connections.client_address import is_trusted
from api.http.errors import ApiError, Handler

SAFE = {"GET", "HEAD", "OPTIONS"}
"""Methods without effects, whose responses a page of another site cannot read."""
PORTS = {"http": 80, "https": 443}
SCHEMES = {"ws": "http", "wss": "https"}
"""Traefik names a websocket's own scheme in X-Forwarded-Proto; the page's Origin has the other one."""


def without_cookie(handler: Handler) -> Handler:
    """Return a handler that refuses a token in a cookie: any page can make a browser send a GET with it."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if is_by_cookie(request):
            raise ApiError(403, "this GET has effects and takes no cookie; send authtoken=", "access-denied")
        return await handler(request)

    return guarded


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request with effects from a page of another site. Raises ApiError 403."""
    if request.method not in SAFE:
        require_own_page(request)
    return await handler(request)


def require_own_page(request: web.Request) -> None:
    """Raise ApiError 403 if a page of another site makes the request with a cookie that its browser added."""
    if is_by_cookie(request) and not is_of_own_page(request):
        raise ApiError(403, "a page of another site cannot use the cookie; send authtoken=", "access-denied")


def is_of_own_page(request: web.Request) -> bool:
    """Return whether the request comes from this site's page, from its user, or from no browser.

    Browsers send Sec-Fetch-Site where the site has TLS, and no page can change it; all of them send Origin.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        page = (parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme))
    except ValueError:
        return False
    return page[1] is not None and page in _own(request, parts.scheme)


def _own(request: web.Request, scheme: str) -> set[tuple[str, str | None, int | None]]:
    """Return scheme, host and port of this site, by Host and by a trusted proxy's X-Forwarded-* headers.

    Without such a header the scheme is the page's, because TLS may end at a proxy.
    """
    hosts = [request.headers.get("Host", "")]
    if is_trusted(request.remote or "", request.app[SETTINGS].trusted_proxies):
        hosts += ",".join(request.headers.getall("X-Forwarded-Host", ())).split(",")
        protocol = ",".join(request.headers.getall("X-Forwarded-Proto", ())).rpartition(",")[2].strip().lower()
        scheme = SCHEMES.get(protocol, protocol) or scheme
    own = set()
    for host in hosts:
        try:
            parts = urlsplit(f"//{host.strip()}")
            own.add((scheme, parts.hostname, parts.port or PORTS.get(scheme)))
        except ValueError:
            continue
    return own
