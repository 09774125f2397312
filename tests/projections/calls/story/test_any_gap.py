"""A gap anywhere in a recording: persons who talk when the list is complete talk in the story, and all of it ends."""

import random
from typing import Any

import pytest

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Leg
from projections.calls.story.row import open_call_of
from schemas.ami.call import CallerItem, ChannelItem
from schemas.link import LinkEvent
from schemas.log import Connected, Disconnected
from tests.projections.calls.story.recorded import NAMES
from tests.support.calls import CallTable, shaped, shaped_all
from tests.support.folding import ListSnapshot, own, recorded
from tests.support.recorded_events import snapshotted


def open_calls(table: CallTable) -> list[OpenCall]:
    return [open_call_of(row) for row in table.read() if row.story is not None]


def application_of(call: OpenCall, leg: Leg) -> tuple[str, str]:
    """Return the application and its data, as CoreShowChannels lists a channel."""
    if leg.agent:
        return "AgentLogin", leg.agent
    if leg.is_holding:
        return "Park", ""
    if leg.conference:
        return "ConfBridge", leg.conference
    waits = [p for p in call.passages if p.channel == leg.unique_id and p.outcome in {"", "answered"}]
    return ("Queue", waits[-1].queue) if waits else ("Dial", "")


def list_of(table: CallTable, at: float) -> list[Any]:
    """Return the events of a gap that ends now, and of a list with the channels that are up."""
    listing = ListSnapshot("CoreShowChannels", 77, at)
    items = []
    for call, leg in [(one, leg) for one in open_calls(table) for leg in one.legs.values()]:
        application, data = application_of(call, leg)
        headers = {
            "Channel": leg.channel,
            "ChannelState": 6 if leg.answered_at else 5,
            "Uniqueid": leg.unique_id,
            "Linkedid": leg.linkedids[-1],
            "BridgeId": leg.bridge,
            "Application": application,
            "ApplicationData": data,
        }
        if leg.ended_at is None:
            items.append(listing.item("CoreShowChannel", **headers))
    lost = [own(Disconnected("eof", at), at), own(Connected("127.0.0.1:5038"), at)]
    return [*lost, listing.start, *items, listing.end, listing.over]


def talkers(table: CallTable) -> set[tuple[str, ...]]:
    return {tuple(talk.persons) for call in open_calls(table) for talk in call.talks if talk.ended_at is None}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_talks_after_a_gap_are_in_the_story(name: str, seed: int) -> None:
    dice = random.Random(seed)
    events = [e for e in shaped_all(snapshotted(name)) if not isinstance(e, LinkEvent | ChannelItem | CallerItem)]
    start = dice.randrange(500, len(events) // 2)
    end = start + dice.randint(20, 1500)
    whole, cut = CallTable().fold(events[:end]), CallTable().fold(events[:start])
    at, position = events[end].at.timestamp(), events[end].position
    cut.fold([shaped(recorded(position, event)) for event in list_of(whole, at)])
    assert talkers(whole) == talkers(cut)
    assert talkers(whole)
    cut.restart()
    channels = [leg.unique_id for call in cut.fold(events[end:]).calls(untold=True).values() for leg in call.legs]
    assert len(channels) == len(set(channels))
    ended = [call for call in cut.calls(untold=True).values() if call.state == "ended"]
    assert None not in [ring.outcome for call in ended for ring in call.rings]
    assert None not in [passage.outcome for call in ended for passage in call.queues]
