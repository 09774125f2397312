"""Compares a call record with the story of its call: the conversations cover the seconds that Asterisk bills."""

from collections.abc import Iterable, Mapping
from typing import Any

from projections.calls.story.items import PERSON, kind_of
from schemas.calls import Call


def coverage_of(record: Mapping[str, Any], call: Call, calls: Iterable[Call]) -> str:
    """Return how the story covers a record, "" for a record that bills nothing. Raises AssertionError if it does not.

    Records bill more than conversations where Asterisk answers first. The story has that time too, and the result
    names it. ``record`` has the headers of a Cdr event, ``calls`` are all calls of the PBX.
    """
    seconds, application = int(record.get("BillableSeconds", 0)), record.get("LastApplication", "")
    ends = {record["Channel"], record.get("DestinationChannel", "")}
    if seconds == 0 or "" in ends:
        return ""
    talk = talk_between(call, {channel for channel in ends if kind_of(channel) == PERSON})
    if talk >= seconds - 1:
        return "covered"
    if application == "Queue":
        # The dialplan answers a caller who waits, and each member who is rung has a record.
        waits = sum(passage.wait_seconds or 0 for passage in call.queues)
        rings = sum(ring.seconds or 0 for ring in call.rings if not ring.queue) if call.transfers else 0
        assert talk + waits + rings + hold_seconds(call) >= seconds - 2, record
        return "queue"
    if application == "ConfBridge":
        # Each pair of members has a record, which begins with the first of them.
        stays = [c for other in calls for c in other.conferences if c.party.channel in ends]
        assert max((c.until or c.from_) - c.from_ for c in stays).total_seconds() >= seconds - 1, record
        return "conference"
    if application == "AgentLogin":
        assert call.conversations == []
        return "session"
    if application == "Stasis":
        # The ARI application answers, and bridges the caller later.
        assert call.answered_at is not None
        assert (call.answered_at - call.started_at).total_seconds() + talk >= seconds - 1
        return "stasis"
    # The record of a transferee has all of his talks, and the holds, waits and rings for him between them.
    starts = [transfer.at for transfer in call.transfers]
    assert starts, record
    talk = max(talk_between(call, {channel}) for channel in ends)
    rings = sum(ring.seconds or 0 for ring in call.rings if ring.ended_at is None or ring.ended_at >= min(starts))
    waits = sum(passage.wait_seconds or 0 for passage in call.queues)
    assert talk + rings + waits + hold_seconds(call) >= seconds - 1, record
    return "transfer"


def hold_seconds(call: Call) -> float:
    """Return the seconds for which a transferer held the transferee; zero without a transfer."""
    holds = [hold for hold in call.holds if hold.until is not None and call.transfers]
    return sum((hold.until - hold.from_).total_seconds() for hold in holds if hold.until is not None)


def talk_between(call: Call, channels: set[str]) -> float:
    """Return the seconds in which these channels talked with each other."""
    talks = [talk for talk in call.conversations if channels <= {party.channel for party in talk.parties}]
    return sum(talk.seconds or 0 for talk in talks)
