"""Topics: paths of which a prefix of whole segments may be subscribed to.

A segment is escaped as in a URL, so that what stands in it may hold a slash: ``/peers/SIP%2F100``. Whichever letters
somebody escapes, the same segments are the same topic.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

from msgspec import Struct

from api.http.errors import ApiError

MAX_TOPICS = 100


def topic_of(path: str, segments: Iterable[str]) -> str:
    """Write a topic, with a slash at its end, so that it is found by each of its prefixes."""
    return path + "".join(["/" + quote(segment, safe="", errors="replace") for segment in segments]) + "/"


def parse_topic(text: str, paths: Sequence[str]) -> str:
    """Return a topic, or a prefix of topics, as `topic_of` writes it. Raises ApiError 400 if no topic begins so."""
    bare = text.strip("/")
    found = topic_of("", [unquote(segment) for segment in bare.split("/")]) if bare else "/"
    if not text.startswith("/") or not any(found.startswith(path) or path.startswith(found) for path in paths):
        raise ApiError(400, f"topic: there is no {text[:100]!r}; topics are {', '.join(paths)}")
    return found


def parse_topics(texts: Iterable[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Return several topics, each once. Raises ApiError 400."""
    found = tuple(dict.fromkeys(parse_topic(text, paths) for text in texts))
    if len(found) > MAX_TOPICS:
        raise ApiError(400, f"topic: no more than {MAX_TOPICS}")
    return found


class TopicFilter(Struct, frozen=True):
    """Which messages somebody wants: those of these topics, of one PBX or (None) of all."""

    topics: tuple[str, ...]
    pbx: str | None = None

    def matches(self, topic: str, pbx: str) -> bool:
        """Tell whether such a message is among them."""
        return topic.startswith(self.topics) and (self.pbx is None or self.pbx == pbx)
