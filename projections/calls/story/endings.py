"""Ends: hangups and their requests, the end of a call, and what is lost in gaps and restarts."""

from datetime import UTC, datetime
from typing import Any

from projections.calls.story.bridges import leave_bridge, pair_by_name, settle_component
from projections.calls.story.call import OpenCall
from projections.calls.story.dialling import end_rings, finish_ring
from projections.calls.story.items import Gap, Leg
from projections.calls.story.legs import (
    OUTGOING,
    adopt_channel,
    clean,
    drop_leg,
    show_number,
    take_extension,
    take_state,
)
from projections.calls.story.pbx import Pbx
from projections.calls.story.queues import end_offer, finish_passage, settle_passage
from schemas.ami import call as ami
from schemas.link import LinkEvent, last_received


def request_hangup(pbx: Pbx, e: ami.HangupRequest) -> None:
    """Note who requested the hangup: the driver of the channel reports its own side."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is not None and (leg := pbx.legs[e.unique_id]).requested_at is None:
        leg.requested_at = e.at
        pbx.touch(call, e.at)


def request_softly(pbx: Pbx, e: ami.SoftHangupRequest) -> None:
    """Note a hangup that Asterisk requests of a channel in a bridge; at the end of a dialplan it means nothing."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg = pbx.legs[e.unique_id]
    if leg.requested_at is None and leg.bridge and not leg.is_holding:
        leg.requested_at = e.at
        pbx.touch(call, e.at)


def hang_up(pbx: Pbx, e: ami.LegHangup) -> None:
    """End a leg, and its call with the last one."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        if pbx.epoch:
            pbx.gone.add(e.unique_id)
        return
    leg = pbx.legs[e.unique_id]
    if leg.ended_at is not None:
        return
    leg.cause, leg.cause_text = e.cause, e.cause_text
    end_leg(pbx, call, leg, e.at)


def end_leg(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """End a leg and everything of it that is open."""
    leg.ended_at = max(at, leg.started_at)
    call.up -= 1
    if pbx.epoch:
        pbx.gone.add(leg.unique_id)
    if leg.bridge:
        leave_bridge(pbx, leg, at)
    end_rings(call, leg, at)
    settle_passage(pbx, call, leg, at)
    end_offer(call, leg.unique_id, "cancelled", at)
    for hold in call.holds:
        if hold.by == leg.unique_id and hold.ended_at is None:
            hold.ended_at = max(at, hold.started_at)
    for stay in call.parks:
        if stay.party == leg.unique_id and stay.ended_at is None:
            stay.ended_at, stay.outcome = max(at, stay.started_at), "gave_up"
    for recording in call.recordings:
        if recording.leg == leg.unique_id and recording.ended_at is None:
            recording.ended_at = max(at, recording.started_at)
    pbx.touch(call, at)
    drop_leg(pbx, call, leg)
    if call.up <= 0:
        end_call(pbx, call, at)


def end_call(pbx: Pbx, call: OpenCall, at: datetime) -> None:
    """End a call whose last channel has ended: nothing of it is left open."""
    for ring in call.rings:
        if ring.ended_at is None:
            finish_ring(ring, "cancelled", at)
    for passage in call.passages:
        if not passage.outcome:
            finish_passage(passage, "unknown", at)
    for offer in call.offers:
        end_offer(call, offer.channel, "cancelled", at)
    for hold in call.holds:
        hold.ended_at = hold.ended_at or max(at, hold.started_at)
    for stay in call.conferences:
        stay.ended_at = stay.ended_at or max(at, stay.started_at)
    for talk in call.talks:
        talk.ended_at = talk.ended_at or max(at, talk.started_at)
    for person in (*call.legs, *call.guests):
        if (room := pbx.talking.get(person)) is not None:
            room.talks = [pair for pair in room.talks if pair[0] is not call]
    pbx.drop(call)
    pbx.over.append(call)


def start_snapshot(pbx: Pbx, e: LinkEvent) -> None:
    """Begin to note which channels a list names."""
    stop_snapshot(pbx, e)
    pbx.epoch = e.epoch


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
        if e.bridge_id:
            leg.bridge = e.bridge_id
            leg.is_holding = e.application in {"AgentLogin", "Park"}
            pbx.bridges.setdefault(e.bridge_id, {})[e.unique_id] = None
    pair_by_name(pbx, pbx.homes[e.unique_id], leg, e.at)
    pbx.listed.add(e.unique_id)


def epoch_of(action_id: str) -> int:
    """Return the epoch of the snapshot to whose list of channels an item belongs, 0 for another list."""
    parts = action_id.split("/")
    is_ours = len(parts) == 3 and parts[0] == "ringledger" and parts[2] == "CoreShowChannels"
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
        for leg in [leg for leg in pbx.legs.values() if leg.ended_at is None and leg.unique_id not in pbx.listed]:
            call = pbx.homes[leg.unique_id]
            lose_call(call, e.at)
            end_leg(pbx, call, leg, max(call.updated_at, leg.started_at))
        for bridge in list(pbx.bridges):
            settle_component(pbx, bridge, [], e.at)
    stop_snapshot(pbx, e)


def stop_snapshot(pbx: Pbx, _e: Any) -> None:
    """Forget the snapshot under way."""
    pbx.epoch = 0
    pbx.listed, pbx.gone = set(), set()


def open_gap(pbx: Pbx, e: LinkEvent) -> None:
    """Note in every open call that events of it are missing, from the last bytes of the link on."""
    stop_snapshot(pbx, e)
    for call in set_of_calls(pbx):
        begin_gap(pbx, call, e)


def close_gap(pbx: Pbx, e: LinkEvent) -> None:
    """End the gap of every open call; a link that was lost without a Disconnected leaves one without a beginning."""
    stop_snapshot(pbx, e)
    for call in set_of_calls(pbx):
        end_gap(pbx, call, e)


def begin_gap(pbx: Pbx, call: OpenCall, e: LinkEvent) -> None:
    """Note that events of a call are missing, from the last bytes of the link on."""
    if gap_of(call) is None:
        call.add("gaps", call.gaps, Gap("disconnected", last_received(e)))
        pbx.touch(call, call.updated_at)


def end_gap(pbx: Pbx, call: OpenCall, e: LinkEvent) -> None:
    """End the gap of a call at the next link."""
    gap = gap_of(call)
    if gap is None:
        call.add("gaps", call.gaps, Gap("disconnected", None, e.at))
    else:
        gap.ended_at = e.at if gap.started_at is None else max(e.at, gap.started_at)
    pbx.touch(call, call.updated_at)


def lose_call(call: OpenCall, at: datetime) -> None:
    """Note that the end of a call is missing: it lies between its last event and this time."""
    if not call.is_lost:
        call.add("gaps", call.gaps, Gap("lost", call.updated_at, max(at, call.updated_at)))
    call.is_lost = True


def gap_of(call: OpenCall) -> Gap | None:
    """Return the gap of a call that lasts."""
    return next((gap for gap in call.gaps if gap.ended_at is None), None)


def set_of_calls(pbx: Pbx) -> list[OpenCall]:
    """Return each open call once, in the order of their ids."""
    return [call for linkedid, call in sorted(pbx.calls.items()) if call.linkedid == linkedid]
