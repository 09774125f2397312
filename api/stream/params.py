"""What both ways of listening ask for, and how long somebody may listen."""

from aiohttp import web

from api.app_keys import ACCOUNTS
from api.http.auth import token_of
from api.http.query import QueryParams
from api.http.views import pbx_filter
from api.stream import closing
from api.stream.hub import STREAMS
from api.stream.messages import MessageId, parse_id
from api.stream.topics import TopicFilter, parse_topics

PARAMETERS = ("last_event_id", "pbx", "topic")
RECHECK_SECONDS = 5.0
"""How often is asked whether who listens still may."""
KEEP_ALIVE_SECONDS = 15.0
STALL_SECONDS = 30.0
"""Nobody reads who takes nothing for so long."""


def start_id(request: web.Request) -> MessageId | None:
    """Return where to go on: the header is a browser's own, after a stream broke, so it is newer than the query."""
    QueryParams(request, *PARAMETERS)
    text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
    return None if text is None else parse_id(text)


def topic_filter(request: web.Request) -> TopicFilter:
    """Return what ``?topic=`` (any number of them) and ``?pbx=`` say."""
    return TopicFilter(
        parse_topics(request.query.getall("topic", []), request.app[STREAMS].catalog.paths), pbx_filter(request)
    )


def recheck_token(request: web.Request) -> None:
    """Count the token as used. Raises EndedError when it has ended, or its user may no longer listen."""
    user = request.app[ACCOUNTS].user_of_token(token_of(request) or "")
    if user is None:
        raise closing.logged_out()
    if not user.may("admin"):
        raise closing.forbidden()
