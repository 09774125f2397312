"""The parameters of both kinds of stream, and the check that the user may still read."""

from aiohttp import web

from api.app_keys import ACCOUNTS
from api.http.auth import token_of
from api.http.query import QueryParams
from api.http.views.view import pbx_filter
from api.stream import closing
from api.stream.hub import STREAMS
from api.stream.messages import MessageId, parse_id
from api.stream.topics import TopicFilter, parse_topics

PARAMETERS = ("last_event_id", "pbx", "topic")
RECHECK_SECONDS = 5.0
"""How often the token of a stream is checked."""
KEEP_ALIVE_SECONDS = 15.0
STALL_SECONDS = 30.0
"""A client that takes no bytes for this time is cut off."""


def start_id(request: web.Request) -> MessageId | None:
    """Return the id to continue after. The header is newer than the query: a browser sends it after a stream broke."""
    QueryParams(request, *PARAMETERS)
    text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    return None if text is None else parse_id(text)


def topic_filter(request: web.Request) -> TopicFilter:
    """Return the filter of ``?topic=`` (any number of them) and ``?pbx=``."""
    return TopicFilter(
        parse_topics(request.query.getall("topic", []), request.app[STREAMS].catalog.paths), pbx_filter(request)
    )


def recheck_token(request: web.Request) -> None:
    """Count the token as used. Raises StreamClosed when it has ended, or its user has lost the permission."""
    user = request.app[ACCOUNTS].user_of_token(token_of(request) or "")
    if user is None:
        raise closing.logged_out()
    if not user.may("supervisor"):
        raise closing.forbidden()
