"""Topics: paths of which a prefix of whole segments may be subscribed to.

A segment is escaped as in a URL, so that what stands in it may hold a slash: ``/peers/SIP%2F100``. Whichever letters
somebody escapes, the same segments are the same topic.
"""

from collections.abc import Iterable
from urllib.parse import quote, unquote

from msgspec import Struct

from api.http.errors import ApiError
from api.stream.resources import FEEDS

MOST = 100
PATHS = tuple(feed.path + "/" for feed in FEEDS)


def written(path: str, segments: Iterable[str]) -> str:
    """Write a topic, with a slash at its end, so that it is found by each of its prefixes."""
    return path + "".join(["/" + quote(segment, safe="", errors="replace") for segment in segments]) + "/"


def prefix(text: str) -> str:
    """Return what is meant, as `written`. Raises ApiError 400 if there can be no such topic."""
    bare = text.strip("/")
    found = written("", [unquote(segment) for segment in bare.split("/")]) if bare else "/"
    if not text.startswith("/") or not any(found.startswith(path) or path.startswith(found) for path in PATHS):
        raise ApiError(400, f"topic: there is no {text[:100]!r}; topics are {', '.join(PATHS)}")
    return found


def prefixes(texts: Iterable[str]) -> tuple[str, ...]:
    """Return several, each once. Raises ApiError 400."""
    found = tuple(dict.fromkeys(map(prefix, texts)))
    if len(found) > MOST:
        raise ApiError(400, f"topic: no more than {MOST}")
    return found


class Wanted(Struct, frozen=True):
    """Which messages somebody wants: those of these topics, of one PBX or (None) of all."""

    topics: tuple[str, ...]
    pbx: str | None = None

    def takes(self, topic: str, pbx: str) -> bool:
        """Tell whether such a message is among them."""
        return topic.startswith(self.topics) and (self.pbx is None or self.pbx == pbx)
