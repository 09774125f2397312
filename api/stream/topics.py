"""Topics: paths. A client subscribes to a prefix of whole segments.

A segment is escaped as in a URL, because it may hold a slash: ``/peers/SIP%2F100``. Equal segments are the same topic,
whichever letters a client escapes.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

from msgspec import Struct

from api.http.errors import ApiError

MAX_TOPICS = 100
BY_NAME = "/calls/"
"""The topics that a client must name, because their messages are long. ``/`` is all others."""


def topic_of(path: str, segments: Iterable[str]) -> str:
    """Return a topic with a slash at its end, so that each of its prefixes matches it."""
    return path + "".join(["/" + quote(segment, safe="", errors="replace") for segment in segments]) + "/"


def parse_topic(text: str, paths: Sequence[str]) -> str:
    """Return a topic, or a prefix of topics, as `topic_of` writes it. Raises ApiError 400 if no topic begins so."""
    bare = text.strip("/")
    topic = topic_of("", [unquote(segment) for segment in bare.split("/")]) if bare else "/"
    if not text.startswith("/") or not any(topic.startswith(path) or path.startswith(topic) for path in paths):
        raise ApiError(400, f"topic: there is no {text[:100]!r}; topics are {', '.join(paths)}")
    return topic


def parse_topics(texts: Iterable[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Return several topics, each once. Raises ApiError 400."""
    topics = tuple(dict.fromkeys(parse_topic(text, paths) for text in texts))
    if len(topics) > MAX_TOPICS:
        raise ApiError(400, f"topic: no more than {MAX_TOPICS}")
    return topics


class TopicFilter(Struct, frozen=True):
    """The messages of these topics, of one PBX or (None) of all."""

    topics: tuple[str, ...]
    pbx: str | None = None

    def matches(self, topic: str, pbx: str) -> bool:
        """Return whether a message of this topic and PBX is among them."""
        prefixes = self.topics
        if topic.startswith(BY_NAME):
            prefixes = tuple(one for one in prefixes if one != "/")
        return topic.startswith(prefixes) and (self.pbx is None or self.pbx == pbx)
