"""Lists of channels: channels that no event has shown, changes of the time without a link, and lost channels."""

from datetime import UTC, datetime, timedelta
from typing import Any

from projections.calls.story.bridges import join_conference, leave_bridge, pair_by_name, settle_component
from projections.calls.story.endings import end_leg, lose_call
from projections.calls.story.items import Leg, Passage
from projections.calls.story.legs import OUTGOING, adopt_channel, clean, show_number, take_extension, take_state
from projections.calls.story.pbx import Pbx
from projections.calls.story.queues import caller_behind, finish_passage, seconds
from schemas.ami import call as ami
from schemas.link import LinkEvent

FORGOTTEN = timedelta(days=1)
"""How long a channel of before a gap stays without an event, if no list can show it."""


def start_snapshot(pbx: Pbx, e: LinkEvent) -> None:
    """Begin to note which channels a list names."""
    pbx.forget_list()
    pbx.epoch = e.epoch


def stop_snapshot(pbx: Pbx, _e: Any) -> None:
    """Forget the snapshot under way."""
    pbx.forget_list()


def list_channel(pbx: Pbx, e: ami.ChannelItem) -> None:
    """Take a channel that the list of a snapshot names; one that is not clean began ``duration`` ago."""
    epoch = epoch_of(e.action_id)
    if not epoch or epoch != pbx.epoch or not e.unique_id or e.unique_id in pbx.gone:
        return
    leg = pbx.legs.get(e.unique_id)
    if leg is None:
        leg = adopt_channel(pbx, e)
        if leg is None:
            return
        if leg.started_at == e.at:
            leg.started_at = datetime.fromtimestamp(e.at.timestamp() - seconds_of(e.duration), UTC)
        leg.number_at_start, leg.name_at_start = clean(e.number), clean(e.name)
        show_number(leg, e.number, e.name)
        take_extension(pbx.homes[e.unique_id], leg, e.exten, e.context)
        take_state(leg, e.state, leg.started_at)
        leg.has_dialplan = True
        leg.is_dialled = e.application in OUTGOING
        if e.application == "AgentLogin":
            leg.agent = pbx.homes[e.unique_id].agent = e.application_data.partition(",")[0] or e.unique_id
        pair_by_name(pbx, pbx.legs, leg, e.at)
        put_into_bridge(pbx, leg, e)
    elif leg.is_stale:
        renew_channel(pbx, leg, e)
    pbx.listed.add(e.unique_id)


def list_caller(pbx: Pbx, e: ami.CallerItem) -> None:
    """Begin the passage of a caller who has entered the queue without an event, because there was no link."""
    leg = pbx.legs.get(e.unique_id)
    if leg is None or leg.ended_at is not None or epoch_of(e.action_id, "QueueStatus") == 0:
        return
    call = pbx.homes[e.unique_id]
    if call.gaps and not any((p.channel, p.queue) == (e.unique_id, e.queue) for p in call.passages):
        passage = Passage(e.queue, caller_behind(pbx, leg), e.unique_id, e.at - seconds(e.wait))
        call.add("passages", call.passages, passage)
        pbx.touch(call, call.updated_at)


def put_into_bridge(pbx: Pbx, leg: Leg, e: ami.ChannelItem) -> None:
    """Put a channel into the bridge of its item; the talks follow when the list is complete.

    The item does not name the bridge's type. Parked channels wait, and so do logged-in agents who are among themselves.
    """
    if not e.bridge_id:
        return
    others = [pbx.legs[one] for one in pbx.bridges.get(e.bridge_id, ())]
    leg.bridge = e.bridge_id
    if e.application == "Park" or any(one.is_holding and not one.agent for one in others):
        leg.is_holding = True
    elif leg.agent:
        leg.is_holding = all(one.is_holding for one in others)
    else:
        for one in others:
            one.is_holding = False
            pbx.dirty[pbx.homes[one.unique_id].linkedid] = None
    pbx.bridges.setdefault(e.bridge_id, {})[e.unique_id] = None
    if e.application == "ConfBridge":
        leg.conference = e.application_data.partition(",")[0]
        join_conference(pbx, pbx.homes[e.unique_id], leg, e.at)


def renew_channel(pbx: Pbx, leg: Leg, e: ami.ChannelItem) -> None:
    """Take what has changed on a channel without an event, because there was no link.

    It begins with the item. It ended at an unknown time, so at the last event of its call.
    """
    last = pbx.homes[e.unique_id].updated_at
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    pbx.dirty[call.linkedid] = None
    take_state(leg, e.state, e.at)
    if leg.bridge != e.bridge_id:
        if leg.bridge:
            leave_bridge(pbx, leg, last)
        put_into_bridge(pbx, leg, e)
    is_talking = bool(leg.bridge) and not leg.is_holding
    if is_talking or e.application != "Queue":
        for passage in call.passages:
            if passage.channel == leg.unique_id and not passage.outcome:
                finish_passage(passage, "unknown", max(last, passage.entered_at))
    for stay in call.parks if is_talking else ():
        if stay.party == leg.unique_id and stay.ended_at is None:
            stay.ended_at = max(last, stay.started_at)


def epoch_of(action_id: str, action: str = "CoreShowChannels") -> int:
    """Return the epoch of the snapshot to whose list of channels an item belongs, 0 for another list."""
    parts = action_id.split("/")
    is_ours = len(parts) == 3 and parts[0] == "ringledger" and parts[2] == action
    return int(parts[1]) if is_ours and parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 19 else 0


def seconds_of(duration: str) -> int:
    """Return the seconds of HH:MM:SS, 0 for any other text."""
    parts = duration.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        return 0
    hours, minutes, seconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds


def complete_list(pbx: Pbx, e: LinkEvent) -> None:
    """End the channels that a complete list of channels lacks, as of the last event of their call."""
    if e.action != "CoreShowChannels" or e.epoch != pbx.epoch:
        return
    if e.outcome in {"complete", "empty"}:
        lose_legs(pbx, [leg for leg in pbx.legs.values() if leg.unique_id not in pbx.listed], e.at)
        for leg in [leg for leg in pbx.legs.values() if leg.is_stale]:
            leg.is_stale = False
            pbx.dirty[pbx.homes[leg.unique_id].linkedid] = None
        for bridge in list(pbx.bridges):
            settle_component(pbx, bridge, [], e.at)
    elif e.outcome == "refused":
        lose_legs(pbx, [leg for leg in pbx.legs.values() if is_forgotten(pbx, leg, e.at)], e.at)
    pbx.forget_list()


def lose_legs(pbx: Pbx, legs: list[Leg], at: datetime) -> None:
    """End channels whose end is in no event, as of the last event of their call."""
    for leg in legs:
        if leg.ended_at is None:
            call = pbx.homes[leg.unique_id]
            lose_call(call, at)
            end_leg(pbx, call, leg, max(call.updated_at, leg.started_at))


def is_forgotten(pbx: Pbx, leg: Leg, at: datetime) -> bool:
    """Return whether a channel of before a gap may have ended in it, where Asterisk refuses the list that shows it."""
    return leg.is_stale and at - pbx.homes[leg.unique_id].updated_at > FORGOTTEN
