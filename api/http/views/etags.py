"""Entity tags of conditional requests, as clients and proxies send them back."""

import re

from aiohttp import web

# Proxies that compress mark the tag: Apache -gzip and -br, Caddy -zstd, Jetty --gzip; Apache 2.2 after the quotes.
CODING = re.compile(r"""-{1,2}(x-gzip|gzip|br|zstd|deflate)("?)\Z""")


def entity_tags(request: web.Request, header: str) -> set[str] | None:
    """Return the opaque tags of If-None-Match or If-Match without quotes, None without that header.

    Weak tags equal strong ones, and a tag that a proxy marked with its coding equals Ringledger's own: the rows are
    the same.
    """
    lines = request.headers.getall(header, None)
    if lines is None:
        return None
    return {_opaque(tag) for line in lines for tag in line.split(",")}


def is_ahead(tags: set[str], now: str) -> bool:
    """Return whether the client's tag counts more changes of a model than the tag of this moment."""
    # The mark after the last hyphen is not a count.
    theirs, present = (
        [int(n) for n in re.findall(r"[0-9]{1,18}", tag.rpartition("-")[0])] for tag in (max(tags, key=len), now)
    )
    return len(theirs) == len(present) and any(a > b for a, b in zip(theirs, present, strict=True))


def _opaque(tag: str) -> str:
    return CODING.sub(r"\2", tag.strip().removeprefix("W/")).strip('"')
