"""Channel event logging: the event of cel_manager, and the line of a CEL csv about the same moment."""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import fields, replace

from schemas.ami import AmiEvent
from schemas.cel_columns import HEADERS
from schemas.log import Source
from schemas.queue_log import WORDS

TYPES = frozenset({
    *("CHAN_START", "CHAN_END", "ANSWER", "HANGUP", "APP_START", "APP_END", "LINKEDID_END", "DTMF"),
    *("BRIDGE_ENTER", "BRIDGE_EXIT", "PARK_START", "PARK_END", "STREAM_BEGIN", "STREAM_END"),
    *("BLINDTRANSFER", "ATTENDEDTRANSFER", "PICKUP", "FORWARD", "LOCAL_OPTIMIZE", "LOCAL_OPTIMIZE_BEGIN"),
    *("BRIDGE_START", "BRIDGE_END", "BRIDGE_UPDATE", "CONF_ENTER", "CONF_EXIT", "CONF_START", "CONF_END"),
    *("3WAY_START", "3WAY_END", "TRANSFER", "HOOKFLASH", "MIXMONITOR_START", "MIXMONITOR_STOP"),
})  # fmt: skip
"""Asterisk 22's types, those of Asterisk 1.8 and 11 (from BRIDGE_START on), and those of patched systems."""
USER_DEFINED = "USER_DEFINED"

OLD_NAMES = TYPES - WORDS
"""Names in the log of lines that Ringledger 0.1.0 imported, which a model handles beside `NAME`.

Transfers are left out: their names are those of queue_log's lines too.
"""
NAME = "CEL"
"""The name in the log, of AMI events and of lines."""


class CelDetails(Struct, frozen=True, gc=False):
    """The members of ``extra`` that Asterisk writes; the names are its own, absent ones are empty.

    HANGUP has ``hangupcause`` (None if absent), ``hangupsource`` and ``dialstatus``, BRIDGE_ENTER and BRIDGE_EXIT
    ``bridge_id`` and ``bridge_technology``, ATTENDEDTRANSFER either ``bridge2_id`` or ``app``, and ``channel2_*``.
    ``extra`` is the text of CELGenUserEvent.
    """

    hangupcause: int | None = None
    hangupsource: str = ""
    dialstatus: str = ""
    bridge_id: str = ""
    bridge_technology: str = ""
    extension: str = ""
    context: str = ""
    bridge1_id: str = ""
    bridge2_id: str = ""
    app: str = ""
    channel2_name: str = ""
    channel2_uniqueid: str = ""
    transferee_channel_name: str = ""
    transferee_channel_uniqueid: str = ""
    transfer_target_channel_name: str = ""
    transfer_target_channel_uniqueid: str = ""
    pickup_channel: str = ""
    pickup_channel_uniqueid: str = ""
    parker_dial_string: str = ""
    parking_lot: str = ""
    reason: str = ""
    retriever: str = ""
    local_two: str = ""
    local_two_uniqueid: str = ""
    filename: str = ""
    mixmonitor_id: str = ""
    digit: str = ""
    forward: str = ""
    extra: str = ""


NO_DETAILS = CelDetails()


class CelEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """CEL of cel_manager (class call; Asterisk 16 and 22), or a line of a CEL csv.

    ``event_time`` is local time or seconds since the epoch, as cel.conf's ``dateformat`` has it; ``at`` is exact where
    AMI has a Timestamp. ``peer`` names the other channels of a bridge, comma separated. ``values`` has all values of a
    csv line, in the order of the file. ``user_defined_type`` of other types is text of Asterisk 22 ("Received").
    """

    also_from: ClassVar[Source | None] = "cel_csv"

    log_source: Source = field(name="_source", default="ami")
    values: tuple[str, ...] | str = field(name="_values", default=())
    event_name: str = field(name="EventName", default="")
    event_time: str = field(name="EventTime", default="")
    caller_id_name: str = field(name="CallerIDname", default="")
    caller_id_num: str = field(name="CallerIDnum", default="")
    caller_id_ani: str = field(name="CallerIDani", default="")
    caller_id_rdnis: str = field(name="CallerIDrdnis", default="")
    caller_id_dnid: str = field(name="CallerIDdnid", default="")
    exten: str = field(name="Exten", default="")
    context: str = field(name="Context", default="")
    channel: str = field(name="Channel", default="")
    application: str = field(name="Application", default="")
    app_data: str = field(name="AppData", default="")
    ama_flags: str = field(name="AMAFlags", default="")
    account_code: str = field(name="AccountCode", default="")
    unique_id: str = field(name="UniqueID", default="")
    linked_id: str = field(name="LinkedID", default="")
    peer: str = field(name="Peer", default="")
    peer_account: str = field(name="PeerAccount", default="")
    user_field: str = field(name="Userfield", default="")
    user_defined_type: str = field(name="UserDefType", default="")
    extra: str = field(name="Extra", default="")

    @property
    def type(self) -> str:
        """Return one of `TYPES`, or ``USER_DEFINED``."""
        return self.event_name if self.event_name in TYPES else USER_DEFINED

    @property
    def user_event(self) -> str:
        """Return the name that the dialplan gave a user event, empty for any other type.

        Asterisk may write that name as the type, as cel.conf sets it.
        """
        if self.event_name in TYPES:
            return ""
        return self.user_defined_type or self.event_name.removeprefix(USER_DEFINED)

    @property
    def details(self) -> CelDetails:
        """Return the members of ``extra``; values of other types count as absent."""
        if not self.extra:
            return NO_DETAILS
        members = _members(self.event_name, self.extra)
        texts: dict[str, Any] = {
            name: str(value)
            for name in CelDetails.__struct_encode_fields__
            if isinstance(value := members.get(name), str | int) and not isinstance(value, bool)
        }
        cause = texts.pop("hangupcause", "")
        if cause.isascii() and cause.isdecimal() and len(cause) < 6:
            texts["hangupcause"] = int(cause)
        return msgspec.convert(texts, CelDetails)

    def arranged(self, columns: tuple[str, ...]) -> "CelEvent":
        """Return the line read by other ``columns`` (`CelColumns`); an AMI event is returned as it is."""
        if not columns or self.log_source != "cel_csv":
            return self
        by_header = dict(zip((HEADERS.get(name, "") for name in columns), self.values, strict=False))
        return replace(self, **{name: by_header.get(header, "") for name, header in _HEADERS_OF.items()})


_HEADERS_OF = {f.name: f.encode_name for f in fields(CelEvent) if f.encode_name in HEADERS.values()}


_OLD_DETAILS = {
    "HANGUP": ("hangupcause", "hangupsource", "dialstatus"),
    "BLINDTRANSFER": ("extension",),
    "FORWARD": ("forward",),
    "PARK_START": ("parking_lot",),
    "PARK_END": ("reason",),
}
"""The members of ``extra`` by place, where Asterisk 1.8 to 12 write "16,SIP/200-00000001,ANSWER" in place of JSON."""


def _members(event_name: str, extra: str) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(extra)
    except msgspec.DecodeError:
        decoded = None
    if isinstance(decoded, dict):
        return decoded
    return dict(zip(_OLD_DETAILS.get(event_name, ()), extra.split(","), strict=False))
