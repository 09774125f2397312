"""Parked calls, as in `parking show` of all lots."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from projections.engine.durations import MAX_SECONDS, START_TOLERANCE, start_time
from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.channel import BridgeMember, HangupEvent, Rename
from schemas.ami.parking import ParkedCallEvent


class ParkedCall(Row):
    """One parked call; a view's parking_duration is now less ``parked_at``, the time left is ``timeout_at`` less now.

    Both are by Ringledger's clock (see `durations`). ``timeout_at`` is null where the lot has no limit: Asterisk counts
    down from 0 there, so its number is beyond `MAX_SECONDS`. Lists give whole seconds, so their times may be a second
    off; the times of events are exact.
    """

    parkee_unique_id: str
    parkee_linked_id: str = ""
    parkee_channel: str = ""
    parkee_channel_state: str = ""
    parkee_channel_state_desc: str = ""
    parkee_caller_id_name: str = ""
    parkee_caller_id_num: str = ""
    parkee_connected_line_name: str = ""
    parkee_connected_line_num: str = ""
    parkee_account_code: str = ""
    parkee_context: str = ""
    parkee_exten: str = ""
    parkee_priority: str = ""
    parker_dial_string: str = ""
    parking_lot: str = ""
    parking_space: str = ""
    parked_at: datetime | None = None
    timeout_at: datetime | None = None


def by_parkee(e: Any) -> Key | None:
    return (e.parkee_unique_id,) if e.parkee_unique_id else None


def by_channel(e: Any) -> Key | None:
    return (e.unique_id,) if e.unique_id else None


def out_of_bridge(e: BridgeMember) -> Key | None:
    return by_channel(e) if e.bridge_type == "parking" else None


def park(row: ParkedCall | None, e: ParkedCallEvent) -> ParkedCall:
    """Return the row of a parked call (event or list item), or of the channel that replaced a parked one (Swap)."""
    parked_at = start_time(e, e.duration)
    timeout_at = e.recorded + timedelta(seconds=e.timeout) if 0 < e.timeout < MAX_SECONDS else None
    if row is not None and row.parked_at is not None and abs(row.parked_at - parked_at) < START_TOLERANCE:
        parked_at, timeout_at = row.parked_at, row.timeout_at
    return ParkedCall(
        pbx=e.pbx,
        tm_update=e.at,
        parkee_unique_id=e.parkee_unique_id,
        parkee_linked_id=e.parkee_linked_id,
        parkee_channel=e.parkee_channel,
        parkee_channel_state=e.parkee_channel_state,
        parkee_channel_state_desc=e.parkee_channel_state_desc,
        parkee_caller_id_name=e.parkee_caller_id_name,
        parkee_caller_id_num=e.parkee_caller_id_num,
        parkee_connected_line_name=e.parkee_connected_line_name,
        parkee_connected_line_num=e.parkee_connected_line_num,
        parkee_account_code=e.parkee_account_code,
        parkee_context=e.parkee_context,
        parkee_exten=e.parkee_exten,
        parkee_priority=e.parkee_priority,
        parker_dial_string=e.parker_dial_string,
        parking_lot=e.parking_lot,
        parking_space=e.parking_space,
        parked_at=parked_at,
        timeout_at=timeout_at,
    )


def end(_row: ParkedCall | None, _e: ParkedCallEvent | BridgeMember | HangupEvent) -> None:
    return None


def rename(row: ParkedCall | None, e: Rename) -> ParkedCall | None:
    return replace(row, parkee_channel=e.new_name) if row else None


PARKED_CALLS = ReadModel(
    name="parked_calls",
    version=2,
    row=ParkedCall,
    key=("parkee_unique_id",),
    on={
        **dict.fromkeys(
            ("ParkedCall", "ParkedCallSwap"), Handler(ParkedCallEvent, by_parkee, park, list_item_wins=True)
        ),
        **dict.fromkeys(
            ("UnParkedCall", "ParkedCallGiveUp", "ParkedCallTimeOut"),
            Handler(ParkedCallEvent, by_parkee, end, deletes_unseen=True),
        ),
        # ParkedCallSwap names the new channel only; the one that it replaced leaves the bridge (parking_bridge.c).
        "BridgeLeave": Handler(BridgeMember, out_of_bridge, end, deletes_unseen=True),
        "Hangup": Handler(HangupEvent, by_channel, end, deletes_unseen=True),
        "Rename": Handler(Rename, by_channel, rename),
    },
    lists={"ParkedCalls": None},
)
