"""Channels of CEL: their start, answer, applications, recordings and end."""

from projections.calls.story import bridges, channels, dialplan, endings, recordings
from projections.calls.story.call import OpenCall
from projections.calls.story.cel.queues import end_queue, settle_passage, start_queue
from projections.calls.story.cel.rings import answer_ring, begin_ring, correct_rings, mark_originated, refuse_ring
from projections.calls.story.cel.shapes import shape
from projections.calls.story.items import Leg
from projections.calls.story.legs import OUTGOING, UP, show_number, take_extension
from projections.calls.story.pbx import Pbx
from projections.calls.story.people import caller_of
from schemas.ami import call as ami
from schemas.ami.cel import CelEvent
from schemas.ami.channel import NewExten


def take_facts(pbx: Pbx, call: OpenCall, leg: Leg, e: CelEvent) -> None:
    """Take the caller id, the application and the user field that every line shows of its channel."""
    changed = show_number(leg, e.caller_id_num, e.caller_id_name)
    if e.application == "AppDial2" and not leg.is_originated:
        mark_originated(call, leg)
        changed = True
    runs_dialplan = e.application not in OUTGOING and (not leg.is_dialled or leg.is_originated)
    if runs_dialplan and take_extension(call, leg, e.exten, e.context):
        changed = True
    if e.application == "AgentLogin" and not leg.agent:
        dialplan.log_in(pbx, leg, shape(NewExten, e, application="AgentLogin", app_data=e.app_data))
    if e.application == "VoiceMail" and leg.app_data != e.app_data:
        leg.app_data = e.app_data
        recordings.send_to_voicemail(pbx, leg, shape(NewExten, e, application=e.application, app_data=e.app_data))
    if e.user_field and e.user_field != call.user_field and caller_of(call) is leg:
        call.user_field, changed = e.user_field, True
    if e.account_code and e.account_code != leg.account_code:
        leg.account_code, changed = e.account_code, True
    if changed:
        pbx.touch(call, e.at)


def start_channel(pbx: Pbx, e: CelEvent) -> None:
    """Begin a channel; one that has another's linked id is rung."""
    is_new = e.unique_id not in pbx.legs
    shown = {"number": e.caller_id_num, "name": e.caller_id_name, "account_code": e.account_code}
    channels.begin_channel(pbx, shape(ami.Newchannel, e, **shown, context=e.context, exten=e.exten))
    leg = pbx.legs.get(e.unique_id)
    if leg is None or not is_new:
        return
    call = pbx.homes[e.unique_id]
    bridges.pair_by_name(pbx, call.legs, leg, e.at)
    if e.linked_id not in {"", e.unique_id}:
        begin_ring(pbx, call, leg, e.at)


def answer(pbx: Pbx, e: CelEvent) -> None:
    """Note that a channel is up, and end its ring."""
    channels.change_state(pbx, shape(ami.Newstate, e, state=UP))
    answer_ring(pbx, pbx.homes[e.unique_id], pbx.legs[e.unique_id], e.at)


def hang_up(pbx: Pbx, e: CelEvent) -> None:
    """End a channel with its cause; the source of the hangup is the channel that requested it."""
    details, call, leg = e.details, pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    if leg.ended_at is not None:
        return
    by = leg_named(call, leg, details.hangupsource)
    settle_passage(call, leg, e, hung_up=by is leg)
    if by is leg:
        refuse_ring(pbx, call, leg, details.hangupcause, e.at)
    cancelled_at = correct_rings(call, leg, details.dialstatus, e.at)
    if by is not None and by.requested_at is None:
        # Where the extension h ran, the rings that the hangup cancelled have its time.
        by.requested_at = min(e.at, by.ended_at or e.at, cancelled_at if cancelled_at and by is leg else e.at)
    if by is not None and by is not leg:
        leg.hung_up_at = by.requested_at
    endings.hang_up(pbx, shape(ami.LegHangup, e, cause=details.hangupcause))


def leg_named(call: OpenCall, leg: Leg, name: str) -> Leg | None:
    """Return the channel of a name, which may be that of `leg`; the newest of several."""
    if not name or leg.channel == name:
        return leg if name else None
    return next((one for one in reversed(call.legs.values()) if one.channel == name), None)


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
