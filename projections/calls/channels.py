"""Channels that are up: what `core show channels` shows, with their variables and bridge."""

from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.durations import began, corrected
from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.channel import BridgeEvent, ChannelEvent, ChannelListed, HangupEvent, NewExten, Rename, VarSet


class Channel(Row):
    """One channel; ``hangup_cause`` is set between a hangup's request and the hangup.

    ``created`` is UTC by our clock, as `durations` has it: a view's duration is now less ``created``.
    """

    unique_id: str
    linked_id: str = ""
    channel: str = ""
    channel_state: int = 0
    channel_state_desc: str = ""
    context: str = ""
    exten: str = ""
    priority: str = ""
    caller_id_name: str = ""
    caller_id_num: str = ""
    connected_line_name: str = ""
    connected_line_num: str = ""
    account_code: str = ""
    language: str = ""
    application: str = ""
    application_data: str = ""
    bridge_id: str | None = None
    hangup_cause: int | None = None
    hangup_cause_desc: str | None = None
    created: datetime | None = None
    variables: dict[str, str] = field(default_factory=dict)


def by_unique_id(e: Any) -> Key | None:
    return (e.unique_id,) if e.unique_id else None


def updated(row: Channel | None, e: ChannelEvent, **more: Any) -> Channel:
    """Take the whole channel snapshot that the event carries."""
    return replace(
        row or Channel(pbx=e.pbx, tm_update=e.at, unique_id=e.unique_id),
        linked_id=e.linked_id,
        channel=e.channel,
        channel_state=e.channel_state,
        channel_state_desc=e.channel_state_desc,
        context=e.context,
        exten=e.exten,
        priority=e.priority,
        caller_id_name=e.caller_id_name,
        caller_id_num=e.caller_id_num,
        connected_line_name=e.connected_line_name,
        connected_line_num=e.connected_line_num,
        account_code=e.account_code,
        language=e.language,
        **more,
    )


def opened(row: Channel | None, e: ChannelEvent) -> Channel:
    return updated(row, e, created=began(e))


def changed(row: Channel | None, e: ChannelEvent) -> Channel | None:
    """Follow a channel that was announced; one that was not (it ended already) is not made up."""
    return updated(row, e) if row else None


def ran(row: Channel | None, e: NewExten) -> Channel | None:
    return updated(row, e, application=e.application, application_data=e.app_data) if row else None


def set_variable(row: Channel | None, e: VarSet) -> Channel | None:
    if row is None or row.variables.get(e.variable) == e.value:
        return row
    return replace(row, variables={**row.variables, e.variable: e.value})


def entered(row: Channel | None, e: BridgeEvent) -> Channel | None:
    return updated(row, e, bridge_id=e.bridge_id) if row else None


def left(row: Channel | None, e: BridgeEvent) -> Channel | None:
    bridge = row.bridge_id if row and row.bridge_id != e.bridge_id else None
    return updated(row, e, bridge_id=bridge) if row else None


def renamed(row: Channel | None, e: Rename) -> Channel | None:
    return replace(row, channel=e.new_name) if row else None


def ending(row: Channel | None, e: HangupEvent) -> Channel | None:
    return updated(row, e, hangup_cause=e.cause, hangup_cause_desc=e.cause_text or None) if row else None


def ended(_row: Channel | None, _e: HangupEvent) -> None:
    return None


def found(row: Channel | None, e: ChannelListed) -> Channel:
    """Take a list item: a channel that was up before we listened, or the correction of one that we know."""
    hours, minutes, seconds = (int(part) for part in (e.duration or "0:0:0").split(":"))
    created = began(e, hours * 3600 + minutes * 60 + seconds)
    return updated(
        row,
        e,
        application=e.application,
        application_data=e.application_data,
        bridge_id=e.bridge_id or None,
        created=corrected(row.created if row else None, created),
    )


CHANNELS = ReadModel(
    name="channels",
    version=2,
    row=Channel,
    key=("unique_id",),
    on={
        "Newchannel": Handler(ChannelEvent, by_unique_id, opened),
        **dict.fromkeys(
            ("Newstate", "NewCallerid", "NewConnectedLine", "NewAccountCode", "Hold", "Unhold"),
            Handler(ChannelEvent, by_unique_id, changed),
        ),
        "Newexten": Handler(NewExten, by_unique_id, ran),
        "VarSet": Handler(VarSet, by_unique_id, set_variable),
        "BridgeEnter": Handler(BridgeEvent, by_unique_id, entered),
        "BridgeLeave": Handler(BridgeEvent, by_unique_id, left),
        "Rename": Handler(Rename, by_unique_id, renamed),
        **dict.fromkeys(("HangupRequest", "SoftHangupRequest"), Handler(HangupEvent, by_unique_id, ending)),
        "Hangup": Handler(HangupEvent, by_unique_id, ended, deletes_unseen=True),
        "CoreShowChannel": Handler(ChannelListed, by_unique_id, found, list_item_wins=True),
    },
    lists={"CoreShowChannels": None},
)
