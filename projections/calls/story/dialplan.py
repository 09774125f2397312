"""Facts of the dialplan: the extension that was dialled, a queue, a mailbox, an agent's login, a few variables."""

from typing import Any

from projections.calls.story.items import PERSON, Leg
from projections.calls.story.legs import OUTGOING, take_extension
from projections.calls.story.pbx import Pbx
from projections.calls.story.queue_log import take_line
from projections.calls.story.queues import continue_dialplan, enter_queue, set_queue_status
from projections.calls.story.recordings import name_recording, send_to_voicemail
from schemas.ami import call as ami
from schemas.ami.channel import NewExten, VarSet
from schemas.queue_log import QueueLogLine


def run_application(pbx: Pbx, e: NewExten) -> None:
    """Take an extension, a queue, a mailbox, or an agent's login from the dialplan."""
    leg = pbx.legs.get(e.unique_id)
    if leg is None:
        return
    application = e.application
    if e.linked_id != leg.linkedids[-1]:
        pbx.see(e.unique_id, e.linked_id, e.at)
    if application in OUTGOING:
        return
    if e.exten == "h" and leg.hung_up_at is None:
        leg.hung_up_at = e.at
        pbx.touch(pbx.homes[e.unique_id], e.at)
    if leg.is_leaving:
        continue_dialplan(pbx, leg, e)
    if not leg.has_dialplan or not leg.exten:
        call = pbx.homes[e.unique_id]
        if take_extension(call, leg, e.exten, e.context) or not leg.has_dialplan:
            leg.has_dialplan = True
            pbx.touch(call, e.at)
    if (handle := APPLICATIONS.get(application)) is not None:
        handle(pbx, leg, e)


def log_in(pbx: Pbx, leg: Leg, e: Any) -> None:
    """Begin an agent's session: from here on the ids of this call merge nothing."""
    agent = e.agent if isinstance(e, ami.AgentLogin) else e.app_data.partition(",")[0].strip()
    call = pbx.homes[leg.unique_id]
    if agent and leg.agent != agent:
        leg.agent = call.agent = agent
        pbx.touch(call, e.at)


def complete_login(pbx: Pbx, e: ami.AgentLogin) -> None:
    """Begin an agent's session where the class dialplan is missing."""
    leg = pbx.legs.get(e.unique_id)
    if leg is not None and leg.kind == PERSON:
        log_in(pbx, leg, e)


def log_off(pbx: Pbx, e: ami.AgentLogoff) -> None:
    """End an agent's session: his channel is a person's like any other, though its linked id still merges nothing."""
    leg = pbx.legs.get(e.unique_id)
    if leg is not None and leg.agent:
        leg.agent = ""
        pbx.touch(pbx.homes[e.unique_id], e.at)


def write_queue_log(pbx: Pbx, leg: Leg, e: NewExten) -> None:
    """Take a line that the dialplan writes into queue_log: the word of a caller who may not join, or a wrapup."""
    queue, call_id, agent, event, *data = [*e.app_data.split(",", 4), "", "", ""]
    if event not in pbx.words and event != "WRAPUPSTART":
        return
    call = pbx.find(call_id) or pbx.homes[leg.unique_id]
    line = QueueLogLine(
        pbx=e.pbx,
        at=e.at,
        recorded=e.recorded,
        position=e.position,
        call_id=call_id or leg.unique_id,
        queue=queue,
        agent="" if agent == "NONE" else agent,
        event=event,
        data=tuple(data),
    )
    if take_line(call, line, pbx.words):
        pbx.touch(call, e.at)


APPLICATIONS = {
    "Queue": enter_queue,
    "VoiceMail": send_to_voicemail,
    "AgentLogin": log_in,
    "QueueLog": write_queue_log,
}
VARIABLES = {"QUEUESTATUS": set_queue_status, "MIXMONITOR_FILENAME": name_recording}


def set_variable(pbx: Pbx, e: VarSet) -> None:
    """Take the few variables that matter for a call."""
    handle = VARIABLES.get(e.variable)
    if handle is not None and e.value and (leg := pbx.legs.get(e.unique_id)) is not None:
        handle(pbx, leg, e)
