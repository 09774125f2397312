"""Events about parking lots and parked calls (res_parking)."""

from msgspec import field

from schemas.ami import AmiEvent, Int


class ParkinglotListed(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Parkinglot: one lot of the response to Parkinglots; ``timeout`` in seconds."""

    name: str = field(name="Name", default="")
    start_space: str = field(name="StartSpace", default="")
    stop_space: str = field(name="StopSpace", default="")
    timeout: Int = field(name="Timeout", default=0)


class ParkedCallEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """ParkedCall (live and in the response to ParkedCalls), UnParkedCall, ParkedCallGiveUp, ...TimeOut and ...Swap.

    ``timeout`` is what is left of the lot's time, ``duration`` what has gone by, both in seconds, in all of them.
    """

    parkee_channel: str = field(name="ParkeeChannel", default="")
    parkee_channel_state: str = field(name="ParkeeChannelState", default="")
    parkee_channel_state_desc: str = field(name="ParkeeChannelStateDesc", default="")
    parkee_caller_id_num: str = field(name="ParkeeCallerIDNum", default="")
    parkee_caller_id_name: str = field(name="ParkeeCallerIDName", default="")
    parkee_connected_line_num: str = field(name="ParkeeConnectedLineNum", default="")
    parkee_connected_line_name: str = field(name="ParkeeConnectedLineName", default="")
    parkee_account_code: str = field(name="ParkeeAccountCode", default="")
    parkee_context: str = field(name="ParkeeContext", default="")
    parkee_exten: str = field(name="ParkeeExten", default="")
    parkee_priority: str = field(name="ParkeePriority", default="")
    parkee_unique_id: str = field(name="ParkeeUniqueid", default="")
    parkee_linked_id: str = field(name="ParkeeLinkedid", default="")
    parker_dial_string: str = field(name="ParkerDialString", default="")
    parking_lot: str = field(name="Parkinglot", default="")
    parking_space: str = field(name="ParkingSpace", default="")
    timeout: Int = field(name="ParkingTimeout", default=0)
    duration: Int = field(name="ParkingDuration", default=0)
