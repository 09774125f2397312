"""Events about channels and bridges."""

from msgspec import field

from schemas.ami import AmiEvent, Int


class ChannelEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """The channel snapshot that Newchannel, Newstate, Newexten, Hangup, ... and CoreShowChannel carry."""

    channel: str = field(name="Channel", default="")
    channel_state: Int = field(name="ChannelState", default=0)
    channel_state_desc: str = field(name="ChannelStateDesc", default="")
    caller_id_num: str = field(name="CallerIDNum", default="")
    caller_id_name: str = field(name="CallerIDName", default="")
    connected_line_num: str = field(name="ConnectedLineNum", default="")
    connected_line_name: str = field(name="ConnectedLineName", default="")
    language: str = field(name="Language", default="")
    account_code: str = field(name="AccountCode", default="")
    context: str = field(name="Context", default="")
    exten: str = field(name="Exten", default="")
    priority: str = field(name="Priority", default="")
    unique_id: str = field(name="Uniqueid", default="")
    linked_id: str = field(name="Linkedid", default="")


class ChannelListed(ChannelEvent, frozen=True, kw_only=True, gc=False):
    """CoreShowChannel; ``duration`` is HH:MM:SS since the channel was created."""

    application: str = field(name="Application", default="")
    application_data: str = field(name="ApplicationData", default="")
    duration: str = field(name="Duration", default="")
    bridge_id: str = field(name="BridgeId", default="")


class NewExten(ChannelEvent, frozen=True, kw_only=True, gc=False):
    """Newexten: the channel runs an application."""

    application: str = field(name="Application", default="")
    app_data: str = field(name="AppData", default="")


class VarSet(AmiEvent, frozen=True, kw_only=True, gc=False):
    """VarSet; ``unique_id`` is empty for a global variable, and may name a channel that was never announced."""

    unique_id: str = field(name="Uniqueid", default="")
    variable: str = field(name="Variable", default="")
    value: str = field(name="Value", default="")


class BridgeEvent(ChannelEvent, frozen=True, kw_only=True, gc=False):
    """BridgeEnter and BridgeLeave."""

    bridge_id: str = field(name="BridgeUniqueid", default="")


class BridgeMember(AmiEvent, frozen=True, kw_only=True, gc=False):
    """BridgeEnter and BridgeLeave of waiting bridges: those of type ``agent_hold`` and ``parking``.

    ``swap_unique_id`` (BridgeEnter) is the channel whose place the channel takes; it leaves the bridge.
    """

    unique_id: str = field(name="Uniqueid", default="")
    bridge_type: str = field(name="BridgeType", default="")
    swap_unique_id: str = field(name="SwapUniqueid", default="")


class Rename(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Rename of a channel, as masquerades do."""

    unique_id: str = field(name="Uniqueid", default="")
    new_name: str = field(name="Newname", default="")


class HangupEvent(ChannelEvent, frozen=True, kw_only=True, gc=False):
    """HangupRequest, SoftHangupRequest and Hangup; ``cause`` is the ISDN (Q.850) cause."""

    cause: Int | None = field(name="Cause", default=None)
    cause_text: str = field(name="Cause-txt", default="")
