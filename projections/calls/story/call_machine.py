"""The machine of the model ``calls``: it folds events into calls that it finds itself."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from projections.calls.call_rows import CallRow
from projections.calls.story import endings, late, log_calls
from projections.calls.story.call import OpenCall
from projections.calls.story.cel.links import follow_link
from projections.calls.story.machine import FOLDS, MISSING, OWN, SOURCE_OF
from projections.calls.story.pbx import Pbx
from projections.calls.story.row import Ended, ended_row, open_call_of, open_row
from projections.calls.story.spaces import Spaces
from projections.engine.model import Key, Row
from schemas.ami import call as ami
from schemas.ami.cel import CelEvent
from schemas.call_settings import QUEUE_EVENTS, CallSettingsEvent
from schemas.cel_columns import CelColumnsEvent
from schemas.link import LinkEvent


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
