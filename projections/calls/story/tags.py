"""Rows that follow from a call's row: its ids, and the values by which lists are filtered."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from projections.calls.bloom import ALL_BITS, bloom_of
from projections.calls.call_records import endpoint_of
from projections.calls.call_rows import CallId, CallRow, CallTag
from projections.calls.story.items import PERSON

NOT_DIGITS = re.compile(r"[^0-9]+", re.ASCII)


@lru_cache(4096)
def digits_of(number: str) -> str:
    """Return the digits of a number."""
    return number if number.isascii() and number.isdecimal() else NOT_DIGITS.sub("", number)


def ids_of(row: CallRow) -> list[CallId]:
    """Return the ids of a call: its linked id, its aliases, and the unique id of each of its channels."""
    if row.body is not None:
        channels = [leg["unique_id"] for leg in row.body["legs"]]
    else:
        channels = list((row.story or {}).get("legs", ()))
    ids = dict.fromkeys((row.linkedid, *row.aliases, *channels))
    return [CallId(row.pbx, one, row.linkedid, row.number) for one in ids]


def tags_of(row: CallRow) -> list[CallTag]:
    """Return the tags of a call; one that is not served has none."""
    if not row.is_told:
        return []
    values = _ended_values(row.body) if row.body is not None else _open_values(row.story or {})
    tags: dict[tuple[str, str], None] = {}
    for kind, value in values:
        tag = digits_of(value or "") if kind == "number" else value
        if tag:
            tags[kind, tag] = None
    for passage in row.passages:
        tags["queue", passage["queue"]] = None
    for ring in (*row.agent_rings, *row.passages):
        for value in (ring["agent"], ring["interface"]):
            if value:
                tags["agent", value] = None
    bloom = ALL_BITS
    if row.ended_at is not None:
        bloom = bloom_of(tags, row.direction, row.outcome, row.talk_seconds, is_transferred=row.is_transferred)
    return [CallTag(row.pbx, row.linkedid, kind, tag, row.started_at, row.number, bloom) for kind, tag in tags]


def _ended_values(body: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for party in body["parties"]:
        yield "number", party["number"]
        yield "endpoint", party["endpoint"]
    if body["caller"] is not None:
        yield "number", body["caller"]["number_at_start"]
    yield "number", body["dialled"]["number"]
    for forward in body["forwards"]:
        yield "number", forward["to"]
    for transfer in body["transfers"]:
        yield "number", transfer["number"]


def _open_values(story: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    is_caller = True
    for leg in story.get("legs", {}).values():
        if leg.get("kind", PERSON) == PERSON:
            yield "endpoint", endpoint_of(leg["channel"])
            for name in ("number", "first_number", "number_at_start"):
                yield "number", leg.get(name)
            # The ended call has the number that its caller dialled, and not those of who joined it.
            if is_caller and not leg.get("is_dialled"):
                yield "number", leg.get("exten")
                is_caller = False
    for guest in story.get("guests", {}).values():
        if guest.get("is_agent"):
            yield "endpoint", endpoint_of(guest["channel"])
            yield "number", guest.get("number")
    for forward in story.get("forwards", ()):
        yield "number", forward["to"]
    for transfer in story.get("transfers", ()):
        yield "number", transfer.get("number")
