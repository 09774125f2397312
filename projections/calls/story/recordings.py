"""Recordings by MixMonitor, and voicemail."""

from datetime import timedelta

from projections.calls.story.items import Leg, Recording, Voicemail
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.channel import NewExten, VarSet

MOMENT = timedelta(seconds=1)


def start_recording(pbx: Pbx, e: ami.MixMonitorStart) -> None:
    """Begin a recording, or continue the one of the same file after a pause."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg = pbx.legs[e.unique_id]
    for recording in call.recordings:
        if recording.leg == leg.unique_id and leg.file and recording.path == leg.file:
            recording.ended_at = None
            pbx.touch(call, e.at)
            return
    party = pbx.person_behind(leg.unique_id)
    call.add("recordings", call.recordings, Recording(leg.unique_id, e.at, leg.file, party=party))
    pbx.touch(call, e.at)


def stop_recording(pbx: Pbx, e: ami.MixMonitorStop) -> None:
    """End a channel's last recording that is open."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    for recording in reversed(call.recordings):
        if recording.leg == e.unique_id and recording.ended_at is None:
            recording.ended_at = e.at
            pbx.touch(call, e.at)
            return


def name_recording(pbx: Pbx, leg: Leg, e: VarSet) -> None:
    """Take the file of a channel's recording, which comes before MixMonitorStart or just after it."""
    call = pbx.homes[leg.unique_id]
    leg.file = e.value
    for recording in reversed(call.recordings):
        if recording.leg == leg.unique_id:
            if not recording.path and recording.ended_at is None and e.at - recording.started_at <= MOMENT:
                recording.path = e.value
            break
    pbx.touch(call, e.at)


def send_to_voicemail(pbx: Pbx, leg: Leg, e: NewExten) -> None:
    """Tell that a caller reached a mailbox, each one where there are several."""
    call = pbx.homes[leg.unique_id]
    party = pbx.person_behind(leg.unique_id)
    for mailbox in e.app_data.partition(",")[0].split("&"):
        is_doubled = any((one.mailbox, one.party, one.at) == (mailbox, party, e.at) for one in call.voicemails)
        if mailbox and party in call.legs and not is_doubled:
            call.add("voicemails", call.voicemails, Voicemail(mailbox, party, e.at))
    pbx.touch(call, e.at)
