"""Calls from CEL: the AMI event ``CEL``, and imported lines, as functions of the story.

A line becomes the AMI event of the same moment. CEL has no dials, so rings follow from channels (`cel_rings.py`).
"""

from collections.abc import Callable
from typing import Any

from projections.calls.story import bridges, channels, dialplan, endings, holds, recordings, transfers
from projections.calls.story.call import Leg, OpenCall
from projections.calls.story.cel_bridges import bridge_of, end_old_bridge, start_old_bridge
from projections.calls.story.cel_queues import connect_caller, end_queue, name_member, settle_passage, start_queue
from projections.calls.story.cel_rings import (
    answer_ring,
    begin_ring,
    correct_rings,
    forward_ring,
    mark_originated,
    pair_by_name,
    refuse_ring,
)
from projections.calls.story.legs import RINGING, UP, show_number
from projections.calls.story.pbx import Pbx
from projections.calls.story.spaces import Facts, add_facts, richer_story
from schemas.ami import call as ami
from schemas.ami.cel import TYPES, CelDetails, CelEvent
from schemas.ami.channel import NewExten

PARK_ENDS: dict[str, tuple[type[ami.ParkingEvent], Callable[[Pbx, Any], None]]] = {
    "ParkedCallUnparked": (ami.UnParkedCall, holds.retrieve),
    "ParkedCallTimeOut": (ami.ParkedCallTimeOut, holds.time_out),
    "ParkedCallGiveUp": (ami.ParkedCallGiveUp, holds.give_up),
}
"""The event of a stay's end, by the reason in PARK_END."""


def fold_cel(pbx: Pbx, e: CelEvent) -> None:
    """Fold a line into the call of CEL, or add its facts to the call of a richer source."""
    if not e.unique_id or e.event_name not in TYPES or e.channel.startswith("Message/"):
        return
    match = richer_story(pbx, e.unique_id, e.linked_id)
    if match is not None:
        space, story = match
        add_facts(space, story, Facts("cel", e.at, e.unique_id, e.user_field, e.account_code))
        return
    if is_repeated(pbx, e):
        return
    known = pbx.see(e.unique_id, e.linked_id, e.at)
    if known is not None and e.event_name != "CHAN_START":
        take_facts(pbx, known, pbx.legs[e.unique_id], e)
    handle = HANDLERS.get(e.event_name)
    if handle is not None and (known is not None or e.event_name in BEGINNINGS):
        handle(pbx, e)
    if known is None and (call := pbx.homes.get(e.unique_id)) is not None:
        call.feed, call.position = e.log_source, e.position
        take_facts(pbx, call, pbx.legs[e.unique_id], e)


def is_repeated(pbx: Pbx, e: CelEvent) -> bool:
    """Return whether the call has the event already from the other of CEL's two ways, AMI or a file."""
    call = pbx.homes.get(e.unique_id) or pbx.calls.get(e.linked_id)
    if call is None:
        return False
    if call.feed != e.log_source:
        if call.feed and e.at <= call.updated_at:
            return True
        call.feed = e.log_source
    call.position = e.position
    return False


def take_facts(pbx: Pbx, call: OpenCall, leg: Leg, e: CelEvent) -> None:
    """Take the caller id, the application and the user field that every line shows of its channel."""
    changed = show_number(leg, e.caller_id_num, e.caller_id_name)
    if e.application == "AppDial2" and not leg.is_originated:
        mark_originated(call, leg)
        changed = True
    runs_dialplan = e.application not in dialplan.OUTGOING and (not leg.is_dialled or leg.is_originated)
    if runs_dialplan and not leg.exten and dialplan.DIALABLE.fullmatch(e.exten):
        leg.exten, leg.context = e.exten, e.context
        changed = True
    if e.application == "AgentLogin" and not leg.agent:
        dialplan.log_in(pbx, leg, shape(NewExten, e, application="AgentLogin", app_data=e.app_data))
    if e.application == "VoiceMail" and leg.app_data != e.app_data:
        leg.app_data = e.app_data
        recordings.send_to_voicemail(pbx, leg, shape(NewExten, e, application=e.application, app_data=e.app_data))
    if e.user_field and not leg.is_dialled and e.user_field != call.user_field:
        call.user_field, changed = e.user_field, True
    if e.account_code and e.account_code != leg.account_code:
        leg.account_code, changed = e.account_code, True
    if changed:
        pbx.touch(call, e.at)


def shape(kind: type[Any], e: CelEvent, **members: Any) -> Any:
    """Return an AMI event of the line's moment and channel."""
    facts: dict[str, Any] = {"pbx": e.pbx, "at": e.at, "recorded": e.recorded, "position": e.position}
    names = kind.__struct_fields__
    shown = {"unique_id": e.unique_id, "linked_id": e.linked_id, "channel": e.channel}
    facts |= {name: value for name, value in shown.items() if name in names}
    return kind(**(facts | members))


def start_channel(pbx: Pbx, e: CelEvent) -> None:
    """Begin a channel; one that has another's linked id is rung."""
    is_new = e.unique_id not in pbx.legs
    shown = {"number": e.caller_id_num, "name": e.caller_id_name, "account_code": e.account_code}
    channels.begin_channel(pbx, shape(ami.Newchannel, e, **shown, context=e.context, exten=e.exten))
    leg = pbx.legs.get(e.unique_id)
    if leg is None or not is_new:
        return
    call = pbx.homes[e.unique_id]
    pair_by_name(pbx, call, leg, e.at)
    if e.linked_id not in {"", e.unique_id}:
        begin_ring(pbx, call, leg, e.at)


def answer(pbx: Pbx, e: CelEvent) -> None:
    """Note that a channel is up, and end its ring."""
    channels.change_state(pbx, shape(ami.Newstate, e, state=UP))
    if (leg := pbx.legs.get(e.unique_id)) is not None:
        answer_ring(pbx, pbx.homes[e.unique_id], leg, e.at)


def enter_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Put a channel into its bridge."""
    details = e.details
    bridge = details.bridge_id or bridge_of(pbx, e)
    is_conference = e.application == "ConfBridge" and details.bridge_technology in {"", "softmix"}
    facts = {
        "bridge_id": bridge,
        "technology": details.bridge_technology,
        "bridge_type": "base" if is_conference else "agent_hold" if e.application == "AgentLogin" else "basic",
        "creator": "ConfBridge" if is_conference else "",
        "bridge_name": e.app_data.partition(",")[0] if is_conference else "",
    }
    if e.application == "AgentLogin" and details.bridge_technology != "holding_bridge":
        facts["bridge_type"] = "basic"
    if (leg := pbx.legs.get(e.unique_id)) is not None and details.bridge_technology != "holding_bridge":
        connect_caller(pbx, pbx.homes[e.unique_id], leg, e)
    bridges.enter_bridge(pbx, shape(ami.BridgeEnter, e, **facts))
    if (leg := pbx.legs.get(e.unique_id)) is not None:
        answer_ring(pbx, pbx.homes[e.unique_id], leg, e.at)
        name_member(pbx, pbx.homes[e.unique_id])


def exit_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Take a channel out of its bridge."""
    leg = pbx.legs[e.unique_id]
    bridges.quit_bridge(pbx, shape(ami.BridgeLeave, e, bridge_id=e.details.bridge_id or leg.bridge))


def hang_up(pbx: Pbx, e: CelEvent) -> None:
    """End a channel with its cause; the source of the hangup is the channel that requested it."""
    details, call, leg = e.details, pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    if leg.ended_at is not None:
        return
    if details.hangupsource:
        by = leg
        if by.channel != details.hangupsource:
            by = next((one for one in reversed(call.legs.values()) if one.channel == details.hangupsource), leg)
        if by.channel == details.hangupsource and by.requested_at is None:
            by.requested_at = min(e.at, by.ended_at or e.at)
            pbx.touch(call, e.at)
        if by is leg:
            refuse_ring(pbx, call, leg, details.hangupcause, e.at)
    settle_passage(call, leg, e, hung_up=details.hangupsource == leg.channel)
    correct_rings(call, leg, details.dialstatus, e.at)
    endings.hang_up(pbx, shape(ami.LegHangup, e, cause=details.hangupcause))


def end_channel(pbx: Pbx, e: CelEvent) -> None:
    """End a channel whose HANGUP is missing."""
    endings.hang_up(pbx, shape(ami.LegHangup, e))


def end_linkedid(pbx: Pbx, e: CelEvent) -> None:
    """End what is open under a linked id when its last channel has ended; the end of an alias ends nothing."""
    call, leg = pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    if leg.ended_at is None or call.linkedid != e.linked_id:
        return
    for other in [one for one in call.legs.values() if one.ended_at is None and one.linkedids[-1] == e.linked_id]:
        endings.end_leg(pbx, call, other, e.at)


def transfer_blindly(pbx: Pbx, e: CelEvent) -> None:
    """Record a blind transfer."""
    details = e.details
    transferee = known(details.transferee_channel_uniqueid)
    facts = {"exten": details.extension, "context": details.context, "bridge_id": details.bridge_id}
    transfers.transfer_blindly(
        pbx,
        shape(
            ami.BlindTransfer, e, result="Success", by_unique_id=e.unique_id, transferee_unique_id=transferee, **facts
        ),
    )


def transfer_attended(pbx: Pbx, e: CelEvent) -> None:
    """Record an attended transfer."""
    details: CelDetails = e.details
    target = known(details.transfer_target_channel_uniqueid)
    is_up = target not in pbx.legs or pbx.legs[target].answered_at is not None
    transfers.transfer_attended(
        pbx,
        shape(
            ami.CallTransfer,
            e,
            result="Success",
            dest_type="App" if details.app else "Bridge",
            dest_app=details.app,
            by_unique_id=e.unique_id,
            bridge_id=known(details.bridge1_id),
            second_unique_id=known(details.channel2_uniqueid),
            second_bridge_id=known(details.bridge2_id),
            transferee_unique_id=known(details.transferee_channel_uniqueid),
            target_unique_id=target,
            target_channel=known(details.transfer_target_channel_name),
            target_state=UP if is_up else RINGING,
        ),
    )


def known(text: str) -> str:
    """Return an id, empty where Asterisk has none."""
    return "" if text == "N/A" else text


def pick_up(pbx: Pbx, e: CelEvent) -> None:
    """Record a pickup: the event is of the phone that rang, and names the picker."""
    picker = e.details.pickup_channel_uniqueid
    own = pbx.legs.get(picker)
    if own is not None:
        linked = {"target_unique_id": e.unique_id, "target_linked_id": e.linked_id}
        holds.take_call(pbx, shape(ami.CallPickup, e, **linked | {"unique_id": picker, "linked_id": own.linkedids[-1]}))


def forward(pbx: Pbx, e: CelEvent) -> None:
    """Record a forward of the phone that the channel dialled last."""
    if e.details.forward:
        forward_ring(pbx, pbx.homes[e.unique_id], e.details.forward, e.at)


def park(pbx: Pbx, e: CelEvent) -> None:
    """Begin a stay in a parking lot."""
    holds.park(pbx, parking(ami.ParkingStart, e))


def end_park(pbx: Pbx, e: CelEvent) -> None:
    """End a stay in a parking lot."""
    kind, end = PARK_ENDS.get(e.details.reason, (ami.ParkedCallGiveUp, holds.give_up))
    retriever, name = "", e.details.retriever
    if name:
        retriever = next((one.unique_id for one in reversed(pbx.legs.values()) if one.channel == name), "")
    end(pbx, parking(kind, e, retriever_unique_id=retriever))


def parking(kind: type[ami.ParkingEvent], e: CelEvent, **members: str) -> Any:
    """Return a parking event of the line's channel."""
    details = e.details
    return shape(kind, e, dial_string=details.parker_dial_string, lot=details.parking_lot, **members)


def start_application(pbx: Pbx, e: CelEvent) -> None:
    """Take an application that cel.conf logs."""
    leg = pbx.legs[e.unique_id]
    if e.exten != "h":
        settle_passage(pbx.homes[e.unique_id], leg, e, hung_up=False)
    if e.application == "Queue":
        start_queue(pbx, leg, e)


def end_application(pbx: Pbx, e: CelEvent) -> None:
    """Take the end of an application that cel.conf logs."""
    if e.application == "Queue":
        end_queue(pbx, pbx.homes[e.unique_id], pbx.legs[e.unique_id], e)


def start_recording(pbx: Pbx, e: CelEvent) -> None:
    """Begin a recording, with its file."""
    pbx.legs[e.unique_id].file = e.details.filename
    recordings.start_recording(pbx, shape(ami.MixMonitorStart, e))


def stop_recording(pbx: Pbx, e: CelEvent) -> None:
    """End a recording."""
    recordings.stop_recording(pbx, shape(ami.MixMonitorStop, e))


BEGINNINGS = {"CHAN_START", "ANSWER", "BRIDGE_ENTER"}
"""Events that may begin a call for a channel that no call has."""

HANDLERS: dict[str, Callable[[Pbx, CelEvent], None]] = {
    "CHAN_START": start_channel,
    "ANSWER": answer,
    "BRIDGE_ENTER": enter_bridge,
    "BRIDGE_EXIT": exit_bridge,
    "BRIDGE_START": start_old_bridge,
    "BRIDGE_END": end_old_bridge,
    "HANGUP": hang_up,
    "CHAN_END": end_channel,
    "LINKEDID_END": end_linkedid,
    "BLINDTRANSFER": transfer_blindly,
    "ATTENDEDTRANSFER": transfer_attended,
    "PICKUP": pick_up,
    "FORWARD": forward,
    "PARK_START": park,
    "PARK_END": end_park,
    "APP_START": start_application,
    "APP_END": end_application,
    "MIXMONITOR_START": start_recording,
    "MIXMONITOR_STOP": stop_recording,
}
