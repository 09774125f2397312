"""The machine of the model ``calls``: it folds events into calls that it finds itself."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from projections.calls.call_rows import CallRow
from projections.calls.story import (
    bridges,
    channels,
    dialling,
    dialplan,
    endings,
    holds,
    late,
    log_calls,
    quality,
    queues,
    record_calls,
    recordings,
    transfers,
)
from projections.calls.story.call import OpenCall
from projections.calls.story.cel.fold import fold_cel
from projections.calls.story.cel.links import follow_link
from projections.calls.story.pbx import Pbx
from projections.calls.story.queue_log import LINES, START
from projections.calls.story.row import Ended, ended_row, open_call_of, open_row
from projections.calls.story.spaces import Spaces
from projections.engine.model import Key, Row
from schemas.ami import call as ami
from schemas.ami.cdr import Cdr
from schemas.ami.cel import NAME, OLD_NAMES, CelEvent
from schemas.ami.channel import NewExten, VarSet
from schemas.call_settings import QUEUE_EVENTS, CallSettingsEvent
from schemas.cel_columns import CelColumnsEvent
from schemas.link import LinkEvent
from schemas.queue_log import ANY_OTHER, DIALPLAN, QueueLogLine

SHAPES: dict[str, tuple[type[Any], Callable[[Pbx, Any], None]]] = {
    "Newchannel": (ami.Newchannel, channels.begin_channel),
    "Newstate": (ami.Newstate, channels.change_state),
    "NewCallerid": (ami.NewCallerid, channels.change_callerid),
    "NewAccountCode": (ami.NewAccountCode, channels.change_account),
    "Rename": (ami.ChannelRename, channels.rename_channel),
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
    "AgentCalled": (ami.AgentCall, queues.call_member),
    "AgentRingNoAnswer": (ami.AgentRingNoAnswer, queues.miss_call),
    "AgentConnect": (ami.AgentConnect, queues.connect_member),
    "AgentComplete": (ami.AgentComplete, queues.complete_call),
    "AgentLogin": (ami.AgentLogin, dialplan.complete_login),
    "RTCPSent": (ami.RtcpReport, quality.report),
    "RTCPReceived": (ami.RtcpReport, quality.report),
    "Cdr": (Cdr, record_calls.fold_record),
    "CoreShowChannel": (ami.ChannelItem, endings.list_channel),
    **dict.fromkeys((NAME, *sorted(OLD_NAMES)), (CelEvent, fold_cel)),
}
"""The shape of each AMI event, and the function that folds it. Each shape has one function."""

OWN = {
    "Disconnected": endings.open_gap,
    "Connected": endings.close_gap,
    "SnapshotStarted": endings.start_snapshot,
    "SnapshotListed": endings.complete_list,
    "SnapshotCompleted": endings.stop_snapshot,
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


class Facts(Struct, omit_defaults=True):
    """The facts of a PBX that no call holds: its settings, its clock, the snapshot under way, and those of CEL."""

    trunks: list[str] = msgspec.field(default_factory=list)
    words: dict[str, str] = msgspec.field(default_factory=lambda: dict(QUEUE_EVENTS))
    clock: dict[str, Any] = msgspec.field(default_factory=dict)
    epoch: int = 0
    listed: list[str] = msgspec.field(default_factory=list)
    gone: list[str] = msgspec.field(default_factory=list)
    columns: tuple[str, ...] = ()
    snapshots: list[int] = msgspec.field(default_factory=list)
    newest: str = ""
    served: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, spaces: Spaces) -> "Facts":
        """Return the facts of a PBX."""
        pbx = spaces.ami
        return cls(
            pbx.trunks,
            pbx.words,
            spaces.by_source["cdr"].clock,
            pbx.epoch,
            sorted(pbx.listed),
            sorted(pbx.gone),
            spaces.columns,
            spaces.snapshots,
            spaces.by_source["cel"].newest,
            pbx.served,
        )


class CallMachine:
    """Folds events into calls. Calls that ended stay until `forget`, so that a late record finds them."""

    def __init__(self) -> None:
        self._pbxes: dict[str, Spaces] = {}
        self._ids: dict[str, set[str]] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._keys: dict[Key, OpenCall] = {}

    def open(self, rows: Iterable[Row], memory: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the open calls of the table, and the facts of `memory`."""
        for name in sorted(memory):
            spaces, facts = self._spaces(name), msgspec.convert(memory[name], Facts)
            spaces.set(facts.trunks, facts.words)
            spaces.columns, spaces.snapshots = facts.columns, list(facts.snapshots)
            spaces.by_source["cel"].newest, spaces.by_source["cdr"].clock = facts.newest, facts.clock
            pbx = spaces.ami
            pbx.epoch, pbx.listed, pbx.gone = facts.epoch, set(facts.listed), set(facts.gone)
            pbx.served = facts.served
        for row in rows:
            assert isinstance(row, CallRow)
            call = open_call_of(row)
            self._spaces(row.pbx).of(call).put(call)
        for spaces in self._pbxes.values():
            for pbx in spaces.all:
                pbx.fill_rooms()

    def memory(self) -> dict[str, Any]:
        """Return the facts that no call holds, as JSON values by PBX."""
        facts = {name: Facts.of(spaces) for name, spaces in self._pbxes.items()}
        return {name: msgspec.to_builtins(one) for name, one in facts.items() if one != Facts()}

    def missing(self, event: Any) -> Iterable[tuple[str, str]]:
        """Return (pbx, id) of ids that the event names and that no open call has, though an ended one may."""
        shape, name = type(event), event.pbx
        ids_of = MISSING.get(shape)
        if ids_of is None:
            if shape is CelColumnsEvent:
                self._columns[name] = event.columns
            return ()
        if shape is CelEvent and event.log_source == "cel_csv":
            columns, spaces = self._columns.get(name), self._pbxes.get(name)
            event = event.arranged(spaces.columns if columns is None and spaces else columns or ())
        # No event is folded between two of these calls: an id that was looked up has the same answer.
        ids = self._ids.get(name)
        if ids is None:
            ids = self._ids[name] = {""}
        unknown = [one for one in ids_of(event) if one not in ids]
        if shape is ami.AgentComplete and (spaces := self._pbxes.get(name)) is not None:
            unknown.append(spaces.ami.served.get(late.key_of(event.queue, event.interface), ""))
        return self._missing_of(name, unknown, ids) if unknown else ()

    def _missing_of(self, name: str, unknown: list[str], ids: set[str]) -> list[tuple[str, str]]:
        spaces = self._pbxes.get(name)
        missing = []
        for one in unknown:
            if one not in ids:
                ids.add(one)
                if spaces is None or not spaces.has(one):
                    missing.append((name, one))
        return missing

    def load(self, rows: Iterable[Row]) -> None:
        """Take ended calls of the table, for this batch."""
        for row in rows:
            assert isinstance(row, CallRow)
            ended = Ended.of(row)
            pbx = self._spaces(row.pbx).by_source[ended.source]
            for unique_id in ended.ids():
                pbx.ended.setdefault(unique_id, ended)

    def fold(self, event: Any) -> Iterable[Key]:
        """Fold one event, and return the keys of the rows that it changed, created or removed."""
        fold = FOLDS.get(type(event))
        spaces = self._pbxes.get(event.pbx)
        if spaces is None:
            spaces = self._spaces(event.pbx)
        pbx = spaces.ami
        if fold is not None:
            source = SOURCE_OF.get(type(event))
            if source is None:
                fold(pbx, event)
            else:
                if source == "cel":
                    event = event.arranged(spaces.columns)
                fold(spaces.by_source[source], event)
        elif type(event) is LinkEvent:
            follow_link(spaces, event)
            log_calls.follow_link(spaces, event)
            if (handle := OWN.get(event.type)) is not None:
                handle(pbx, event)
        elif type(event) is CelColumnsEvent:
            spaces.columns = event.columns
        elif type(event) is CallSettingsEvent:
            for one in self._pbxes.values() if not event.pbx else (spaces,):
                one.set(list(event.trunks), dict(event.queue_events))
        if not pbx.dirty:
            return ()
        for call in pbx.empty:
            endings.end_call(spaces.of(call), call, event.at)
        pbx.empty.clear()
        if pbx.over:
            for call in pbx.over:
                self._end(spaces.of(call), call)
            pbx.over.clear()
        keys = [(event.pbx, linkedid) for linkedid in pbx.dirty]
        pbx.dirty.clear()
        return keys

    def row(self, key: Key) -> Row | None:
        """Return the row of a call as it is now, None for one that is merged, or has ended and had no person."""
        for pbx in self._spaces(key[0]).all:
            call = pbx.calls.get(key[1])
            if call is not None and call.linkedid == key[1]:
                return open_row(call)
            ended = pbx.ended.get(key[1])
            if ended is not None and ended.call.linkedid == key[1] and ended.is_told:
                return ended_row(ended)
        return None

    def forget(self) -> None:
        """Forget the calls that have ended; their rows are written."""
        self._ids.clear()
        self._columns.clear()
        for spaces in self._pbxes.values():
            for pbx in spaces.all:
                pbx.ended.clear()

    def _spaces(self, name: str) -> Spaces:
        spaces = self._pbxes.get(name)
        if spaces is None:
            # Settings of no PBX are those of all.
            general = self._pbxes[""].ami if "" in self._pbxes else None
            spaces = self._pbxes[name] = Spaces(name)
            if general is not None:
                spaces.set(general.trunks, general.words)
        return spaces

    def _end(self, pbx: Pbx, call: OpenCall) -> None:
        """Render a call that has ended, once; from here on only its record can change it."""
        ended = Ended.of_call(call)
        late.remember_callers(pbx, call)
        # A call that is not served has no row, so no later batch can find it: this one must not either.
        for unique_id in ended.ids() if ended.is_told else ():
            pbx.ended[unique_id] = ended
        pbx.dirty[call.linkedid] = None


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
