"""Channels that are up, as in `core show channels`, with their variables and bridge."""

from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.durations import corrected, start_time
from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.channel import BridgeEvent, ChannelEvent, ChannelListed, HangupEvent, NewExten, Rename, VarSet


class Channel(Row):
    """One channel; ``hangup_cause`` is set between the request of a hangup and the hangup.

    ``created`` is UTC by Ringledger's clock (see `durations`): a view's duration is now less ``created``.
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


def with_snapshot(row: Channel | None, e: ChannelEvent, **more: Any) -> Channel:
    """Return the row with the whole channel snapshot that the event carries."""
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


def create(row: Channel | None, e: ChannelEvent) -> Channel:
    return with_snapshot(row, e, created=start_time(e))


def update(row: Channel | None, e: ChannelEvent) -> Channel | None:
    """Update a channel that has a row; a channel without one has ended already."""
    return with_snapshot(row, e) if row else None


def run_application(row: Channel | None, e: NewExten) -> Channel | None:
    return with_snapshot(row, e, application=e.application, application_data=e.app_data) if row else None


def set_variable(row: Channel | None, e: VarSet) -> Channel | None:
    if row is None or row.variables.get(e.variable) == e.value:
        return row
    return replace(row, variables={**row.variables, e.variable: e.value})


def enter_bridge(row: Channel | None, e: BridgeEvent) -> Channel | None:
    return with_snapshot(row, e, bridge_id=e.bridge_id) if row else None


def leave_bridge(row: Channel | None, e: BridgeEvent) -> Channel | None:
    bridge = row.bridge_id if row and row.bridge_id != e.bridge_id else None
    return with_snapshot(row, e, bridge_id=bridge) if row else None


def rename(row: Channel | None, e: Rename) -> Channel | None:
    return replace(row, channel=e.new_name) if row else None


def request_hangup(row: Channel | None, e: HangupEvent) -> Channel | None:
    return with_snapshot(row, e, hangup_cause=e.cause, hangup_cause_desc=e.cause_text or None) if row else None


def hang_up(_row: Channel | None, _e: HangupEvent) -> None:
    return None


def apply_list_item(row: Channel | None, e: ChannelListed) -> Channel:
    """Create or correct the row of a listed channel."""
    hours, minutes, seconds = (int(part) for part in (e.duration or "0:0:0").split(":"))
    created = start_time(e, hours * 3600 + minutes * 60 + seconds)
    return with_snapshot(
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
        "Newchannel": Handler(ChannelEvent, by_unique_id, create),
        **dict.fromkeys(
            ("Newstate", "NewCallerid", "NewConnectedLine", "NewAccountCode", "Hold", "Unhold"),
            Handler(ChannelEvent, by_unique_id, update),
        ),
        "Newexten": Handler(NewExten, by_unique_id, run_application),
        "VarSet": Handler(VarSet, by_unique_id, set_variable),
        "BridgeEnter": Handler(BridgeEvent, by_unique_id, enter_bridge),
        "BridgeLeave": Handler(BridgeEvent, by_unique_id, leave_bridge),
        "Rename": Handler(Rename, by_unique_id, rename),
        **dict.fromkeys(("HangupRequest", "SoftHangupRequest"), Handler(HangupEvent, by_unique_id, request_hangup)),
        "Hangup": Handler(HangupEvent, by_unique_id, hang_up, deletes_unseen=True),
        "CoreShowChannel": Handler(ChannelListed, by_unique_id, apply_list_item, list_item_wins=True),
    },
    lists={"CoreShowChannels": None},
)
