"""The events that the machine of the model ``calls`` folds: their shapes, their functions, the calls that they name."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from projections.calls.story import (
    bridges,
    channels,
    dialling,
    dialplan,
    endings,
    holds,
    log_calls,
    offers,
    quality,
    queues,
    record_calls,
    recordings,
    snapshots,
    transfers,
)
from projections.calls.story.cel.fold import fold_cel
from projections.calls.story.pbx import Pbx
from projections.calls.story.queue_log import LINES, START
from schemas.ami import call as ami
from schemas.ami.cdr import Cdr
from schemas.ami.cel import NAME, OLD_NAMES, CelEvent
from schemas.ami.channel import NewExten, Rename, VarSet
from schemas.call_settings import CallSettingsEvent
from schemas.cel_columns import CelColumnsEvent
from schemas.link import LinkEvent
from schemas.queue_log import ANY_OTHER, DIALPLAN, QueueLogLine

SHAPES: dict[str, tuple[type[Any], Callable[[Pbx, Any], None]]] = {
    "Newchannel": (ami.Newchannel, channels.begin_channel),
    "Newstate": (ami.Newstate, channels.change_state),
    "NewCallerid": (ami.NewCallerid, channels.change_callerid),
    "NewAccountCode": (ami.NewAccountCode, channels.change_account),
    "Rename": (Rename, channels.rename_channel),
    "Newexten": (NewExten, dialplan.run_application),
    "VarSet": (VarSet, dialplan.set_variable),
    "HangupRequest": (ami.HangupRequest, endings.request_hangup),
    "SoftHangupRequest": (ami.SoftHangupRequest, endings.request_softly),
    "Hangup": (ami.LegHangup, endings.hang_up),
    "DialBegin": (ami.DialBegin, dialling.begin_dial),
    "DialState": (ami.DialState, dialling.change_dial),
    "DialEnd": (ami.DialEnd, dialling.end_dial),
    "BridgeEnter": (ami.BridgeEnter, bridges.enter_bridge),
    "BridgeLeave": (ami.BridgeLeave, bridges.quit_bridge),
    "LocalBridge": (ami.LocalBridge, bridges.pair_halves),
    "Hold": (ami.HoldBegin, holds.hold),
    "Unhold": (ami.HoldEnd, holds.unhold),
    "ParkedCall": (ami.ParkingStart, holds.park),
    "UnParkedCall": (ami.UnParkedCall, holds.retrieve),
    "ParkedCallTimeOut": (ami.ParkedCallTimeOut, holds.time_out),
    "ParkedCallGiveUp": (ami.ParkedCallGiveUp, holds.give_up),
    "ParkedCallSwap": (ami.ParkedCallSwap, holds.swap_parked),
    "Pickup": (ami.CallPickup, holds.take_call),
    "BlindTransfer": (ami.BlindTransfer, transfers.transfer_blindly),
    "AttendedTransfer": (ami.CallTransfer, transfers.transfer_attended),
    "MixMonitorStart": (ami.MixMonitorStart, recordings.start_recording),
    "MixMonitorStop": (ami.MixMonitorStop, recordings.stop_recording),
    "QueueCallerJoin": (ami.QueueCallerJoin, queues.join_queue),
    "QueueCallerLeave": (ami.QueueCallerLeave, queues.leave_queue),
    "QueueCallerAbandon": (ami.QueueCallerAbandon, queues.abandon_queue),
    "AgentCalled": (ami.AgentCall, offers.call_member),
    "AgentRingNoAnswer": (ami.AgentRingNoAnswer, queues.miss_call),
    "AgentConnect": (ami.AgentConnect, queues.connect_member),
    "AgentComplete": (ami.AgentComplete, queues.complete_call),
    "AgentLogin": (ami.AgentLogin, dialplan.complete_login),
    "AgentLogoff": (ami.AgentLogoff, dialplan.log_off),
    "RTCPSent": (ami.RtcpReport, quality.report),
    "RTCPReceived": (ami.RtcpReport, quality.report),
    "Cdr": (Cdr, record_calls.fold_record),
    "CoreShowChannel": (ami.ChannelItem, snapshots.list_channel),
    "QueueEntry": (ami.CallerItem, snapshots.list_caller),
    **dict.fromkeys((NAME, *sorted(OLD_NAMES)), (CelEvent, fold_cel)),
}
"""The shape of each AMI event, and the function that folds it. Each shape has one function."""

OWN = {
    "Disconnected": endings.open_gap,
    "Connected": endings.close_gap,
    "SnapshotStarted": snapshots.start_snapshot,
    "SnapshotListed": snapshots.complete_list,
    "SnapshotCompleted": snapshots.stop_snapshot,
}
"""Ringledger's own events about the link."""

LOG_LINES = (*sorted(LINES), START, *DIALPLAN, ANY_OTHER)
"""The names in the log of queue_log's lines about callers."""

FOLDS: dict[type[Any], Callable[[Pbx, Any], None]] = {**dict(SHAPES.values()), QueueLogLine: log_calls.fold_line}

SOURCE_OF: dict[type[Any], str] = {CelEvent: "cel", QueueLogLine: "queue_log", Cdr: "cdr"}
"""The source whose space a shape's function gets; AMI's where none is named."""


def shapes() -> dict[str, type[Any]]:
    """Return the shape of each event that the machine folds, by the event's name."""
    by_name: dict[str, type[Any]] = {name: shape for name, (shape, _) in SHAPES.items()}
    by_name |= dict.fromkeys(LOG_LINES, QueueLogLine)
    return by_name | dict.fromkeys(OWN, LinkEvent) | {"CallSettings": CallSettingsEvent, "CelColumns": CelColumnsEvent}


LINKED = ("linked_id", "dest_linked_id", "target_linked_id", "call_id")
LATE = (ami.AgentComplete,)
"""Shapes whose events may come after their call; a logged-in agent's caller may show the linked id of the session."""
ADOPTED = (
    CelEvent,
    ami.Newchannel,
    ami.Newstate,
    ami.DialBegin,
    ami.BridgeEnter,
    ami.ParkingStart,
    ami.ChannelItem,
    Cdr,
)
"""Shapes whose events may begin a call for a channel that no open call has. Even Newchannel may be an old one."""


def _missing_of(shape: type[Any]) -> tuple[str, ...]:
    names = LINKED if shape not in (*ADOPTED, *LATE) else (*LINKED, "unique_id", "dest_unique_id")
    return tuple(name for name in names if name in shape.__struct_fields__)


def _getter_of(names: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    get: Callable[[Any], Any] = attrgetter(*names)
    return get if len(names) > 1 else lambda event: (get(event),)


MISSING = {shape: _getter_of(names) for shape in FOLDS if (names := _missing_of(shape))}
"""The ids of a shape that may name an ended call: whatever a fold looks up among these, `missing` returns."""
