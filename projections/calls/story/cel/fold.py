"""Calls from CEL: the AMI event ``CEL``, and imported lines, as functions of the story.

A line becomes the AMI event of the same moment. CEL has no dials, so rings follow from channels (`rings.py`).
"""

from collections.abc import Callable

from msgspec.structs import replace

from projections.calls.story.call import OpenCall
from projections.calls.story.cel import bridges, channels, links, transfers
from projections.calls.story.legs import adopt_channel
from projections.calls.story.pbx import Pbx
from projections.calls.story.spaces import Facts, add_facts, find_story, richer_story
from schemas.ami.cel import TYPES, CelEvent


def fold_cel(pbx: Pbx, e: CelEvent) -> None:
    """Fold a line into the call of CEL, or add its facts to the call of a richer source."""
    if not e.unique_id or e.event_name not in TYPES or e.channel.startswith("Message/"):
        return
    match = richer_story(pbx, e.unique_id, e.linked_id)
    if match is not None:
        space, story = match
        add_facts(space, story, Facts("cel", e.at, e.unique_id, e.user_field, e.account_code))
        return
    if find_story(pbx.richer, e.linked_id) is not None:
        e = replace(e, linked_id="")  # the linked id of an agent's session, which merges nothing
    if is_repeated(pbx, e):
        return
    if e.event_name == "CHAN_START" and e.unique_id not in pbx.legs:
        links.end_before_restart(pbx, e)
        links.end_oldest(pbx)
        channels.start_channel(pbx, e)
        follow(pbx, pbx.homes.get(e.unique_id), e)
        return
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None and e.event_name in BEGINNINGS:
        call = adopt(pbx, e)
    if call is None:
        return
    follow(pbx, call, e)
    if (handle := HANDLERS.get(e.event_name)) is not None:
        handle(pbx, e)


def adopt(pbx: Pbx, e: CelEvent) -> OpenCall | None:
    """Begin a call for a channel whose CHAN_START is missing."""
    links.end_oldest(pbx)
    leg = adopt_channel(pbx, e)
    if leg is None:
        return None
    leg.is_dialled = e.application in {"AppDial", "AppQueue"}
    return pbx.homes[e.unique_id]


def is_repeated(pbx: Pbx, e: CelEvent) -> bool:
    """Return whether the call has the event already from the other of CEL's two ways, AMI or a file.

    The times of a file may lack their fractions, so of two ways the one that follows must be later.
    """
    call = pbx.homes.get(e.unique_id) or pbx.calls.get(e.linked_id)
    return call is not None and bool(call.feed) and call.feed != e.log_source and e.at <= call.updated_at


def follow(pbx: Pbx, call: OpenCall | None, e: CelEvent) -> None:
    """Note in a call that its story has come to this line, with the facts that each line shows of its channel."""
    if call is None:
        return
    if e.event_name in HANDLERS or e.event_name == "CHAN_START":
        call.feed, call.position = e.log_source, e.position
        pbx.touch(call, e.at)
    channels.take_facts(pbx, call, pbx.legs[e.unique_id], e)


BEGINNINGS = {"ANSWER", "BRIDGE_ENTER"}
"""Events beside CHAN_START that may begin a call for a channel that no call has."""

HANDLERS: dict[str, Callable[[Pbx, CelEvent], None]] = {
    "ANSWER": channels.answer,
    "BRIDGE_ENTER": bridges.enter_bridge,
    "BRIDGE_EXIT": bridges.exit_bridge,
    "BRIDGE_START": bridges.start_old_bridge,
    "BRIDGE_END": bridges.end_old_bridge,
    "HANGUP": channels.hang_up,
    "CHAN_END": channels.end_channel,
    "LINKEDID_END": channels.end_linkedid,
    "BLINDTRANSFER": transfers.transfer_blindly,
    "ATTENDEDTRANSFER": transfers.transfer_attended,
    "PICKUP": transfers.pick_up,
    "FORWARD": transfers.forward,
    "PARK_START": transfers.park,
    "PARK_END": transfers.end_park,
    "APP_START": channels.start_application,
    "APP_END": channels.end_application,
    "MIXMONITOR_START": channels.start_recording,
    "MIXMONITOR_STOP": channels.stop_recording,
}
