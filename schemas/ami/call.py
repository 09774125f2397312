"""Events of a call for its story: one shape for each event, because the machine dispatches by shape.

Shapes of `schemas.ami.channel` stand for several events each, so these are apart. A second conversion takes 0.5 us.
"""

from msgspec import field

from schemas.ami import AmiEvent, Float, Int


class ChannelFact(AmiEvent, frozen=True, kw_only=True, gc=False):
    """An event of one channel."""

    unique_id: str = field(name="Uniqueid", default="")
    linked_id: str = field(name="Linkedid", default="")


class ChannelSnapshot(ChannelFact, frozen=True, kw_only=True, gc=False):
    """An event that shows a channel's caller id and place in the dialplan."""

    channel: str = field(name="Channel", default="")
    state: Int = field(name="ChannelState", default=0)
    number: str = field(name="CallerIDNum", default="")
    name: str = field(name="CallerIDName", default="")
    account_code: str = field(name="AccountCode", default="")
    context: str = field(name="Context", default="")
    exten: str = field(name="Exten", default="")


class Newchannel(ChannelSnapshot, frozen=True, kw_only=True, gc=False):
    """Newchannel."""


class Newstate(ChannelSnapshot, frozen=True, kw_only=True, gc=False):
    """Newstate; state 5 is Ringing, 6 is Up."""


class NewCallerid(ChannelSnapshot, frozen=True, kw_only=True, gc=False):
    """NewCallerid."""


class NewAccountCode(ChannelFact, frozen=True, kw_only=True, gc=False):
    """NewAccountCode."""

    account_code: str = field(name="AccountCode", default="")


class ChannelItem(ChannelSnapshot, frozen=True, kw_only=True, gc=False):
    """CoreShowChannel; ``duration`` is HH:MM:SS since the channel was created."""

    action_id: str = field(name="ActionID", default="")
    application: str = field(name="Application", default="")
    application_data: str = field(name="ApplicationData", default="")
    duration: str = field(name="Duration", default="")
    bridge_id: str = field(name="BridgeId", default="")


class CallerItem(AmiEvent, frozen=True, kw_only=True, gc=False):
    """QueueEntry, a caller in the response to QueueStatus; ``wait`` in seconds."""

    action_id: str = field(name="ActionID", default="")
    unique_id: str = field(name="Uniqueid", default="")
    queue: str = field(name="Queue", default="")
    wait: Int = field(name="Wait", default=0)


class HoldBegin(ChannelFact, frozen=True, kw_only=True, gc=False):
    """Hold."""


class HoldEnd(ChannelFact, frozen=True, kw_only=True, gc=False):
    """Unhold."""


class HangupRequest(ChannelFact, frozen=True, kw_only=True, gc=False):
    """HangupRequest: the channel's driver reports that its side hung up."""


class SoftHangupRequest(ChannelFact, frozen=True, kw_only=True, gc=False):
    """SoftHangupRequest: Asterisk asks for the hangup, also at the end of every dialplan run."""


class LegHangup(ChannelFact, frozen=True, kw_only=True, gc=False):
    """Hangup; ``cause`` is the ISDN (Q.850) cause."""

    cause: Int | None = field(name="Cause", default=None)
    cause_text: str = field(name="Cause-txt", default="")


class Dial(ChannelFact, frozen=True, kw_only=True, gc=False):
    """The channels of a dial; without ``unique_id`` Asterisk itself dials (Originate)."""

    dest_unique_id: str = field(name="DestUniqueid", default="")
    dest_linked_id: str = field(name="DestLinkedid", default="")
    dest_channel: str = field(name="DestChannel", default="")
    dest_state: Int = field(name="DestChannelState", default=0)
    dest_number: str = field(name="DestCallerIDNum", default="")
    dest_name: str = field(name="DestCallerIDName", default="")
    channel: str = field(name="Channel", default="")


class DialBegin(Dial, frozen=True, kw_only=True, gc=False):
    """DialBegin; ``exten`` and ``context`` are the dialling channel's place in the dialplan."""

    exten: str = field(name="Exten", default="")
    context: str = field(name="Context", default="")
    dial_string: str = field(name="DialString", default="")


class DialState(AmiEvent, frozen=True, kw_only=True, gc=False):
    """DialState (Asterisk 16 and newer)."""

    dest_unique_id: str = field(name="DestUniqueid", default="")
    status: str = field(name="DialStatus", default="")


class DialEnd(Dial, frozen=True, kw_only=True, gc=False):
    """DialEnd."""

    status: str = field(name="DialStatus", default="")
    forward: str = field(name="Forward", default="")


class BridgeMove(ChannelFact, frozen=True, kw_only=True, gc=False):
    """The bridge in BridgeEnter and BridgeLeave."""

    channel: str = field(name="Channel", default="")
    bridge_id: str = field(name="BridgeUniqueid", default="")
    bridge_type: str = field(name="BridgeType", default="")
    technology: str = field(name="BridgeTechnology", default="")
    creator: str = field(name="BridgeCreator", default="")
    bridge_name: str = field(name="BridgeName", default="")


class BridgeEnter(BridgeMove, frozen=True, kw_only=True, gc=False):
    """BridgeEnter; ``swap_unique_id`` is the channel whose place the channel takes."""

    swap_unique_id: str = field(name="SwapUniqueid", default="")


class BridgeLeave(BridgeMove, frozen=True, kw_only=True, gc=False):
    """BridgeLeave."""


class LocalBridge(AmiEvent, frozen=True, kw_only=True, gc=False):
    """LocalBridge: the two halves of a Local channel."""

    one_unique_id: str = field(name="LocalOneUniqueid", default="")
    one_linked_id: str = field(name="LocalOneLinkedid", default="")
    one_channel: str = field(name="LocalOneChannel", default="")
    two_unique_id: str = field(name="LocalTwoUniqueid", default="")
    two_linked_id: str = field(name="LocalTwoLinkedid", default="")
    two_channel: str = field(name="LocalTwoChannel", default="")


class CallPickup(ChannelFact, frozen=True, kw_only=True, gc=False):
    """Pickup."""

    target_unique_id: str = field(name="TargetUniqueid", default="")
    target_linked_id: str = field(name="TargetLinkedid", default="")


class BlindTransfer(AmiEvent, frozen=True, kw_only=True, gc=False):
    """BlindTransfer."""

    result: str = field(name="Result", default="")
    by_unique_id: str = field(name="TransfererUniqueid", default="")
    transferee_unique_id: str = field(name="TransfereeUniqueid", default="")
    bridge_id: str = field(name="BridgeUniqueid", default="")
    exten: str = field(name="Extension", default="")
    context: str = field(name="Context", default="")


class CallTransfer(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AttendedTransfer (bridge.c, stasis_bridges.c of Asterisk 16 and 22)."""

    result: str = field(name="Result", default="")
    dest_type: str = field(name="DestType", default="")
    dest_app: str = field(name="DestApp", default="")
    by_unique_id: str = field(name="OrigTransfererUniqueid", default="")
    by_exten: str = field(name="OrigTransfererExten", default="")
    by_context: str = field(name="OrigTransfererContext", default="")
    bridge_id: str = field(name="OrigBridgeUniqueid", default="")
    second_unique_id: str = field(name="SecondTransfererUniqueid", default="")
    second_exten: str = field(name="SecondTransfererExten", default="")
    second_context: str = field(name="SecondTransfererContext", default="")
    second_bridge_id: str = field(name="SecondBridgeUniqueid", default="")
    transferee_unique_id: str = field(name="TransfereeUniqueid", default="")
    target_unique_id: str = field(name="TransferTargetUniqueid", default="")
    target_state: Int = field(name="TransferTargetChannelState", default=6)
    target_channel: str = field(name="TransferTargetChannel", default="")


class ParkingEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """The parked channel and its place."""

    unique_id: str = field(name="ParkeeUniqueid", default="")
    linked_id: str = field(name="ParkeeLinkedid", default="")
    dial_string: str = field(name="ParkerDialString", default="")
    lot: str = field(name="Parkinglot", default="")
    space: str = field(name="ParkingSpace", default="")
    retriever_unique_id: str = field(name="RetrieverUniqueid", default="")


class ParkingStart(ParkingEvent, frozen=True, kw_only=True, gc=False):
    """ParkedCall, also an item of the action ParkedCalls."""

    channel: str = field(name="ParkeeChannel", default="")
    action_id: str = field(name="ActionID", default="")


class UnParkedCall(ParkingEvent, frozen=True, kw_only=True, gc=False):
    """UnParkedCall."""


class ParkedCallTimeOut(ParkingEvent, frozen=True, kw_only=True, gc=False):
    """ParkedCallTimeOut."""


class ParkedCallGiveUp(ParkingEvent, frozen=True, kw_only=True, gc=False):
    """ParkedCallGiveUp."""


class ParkedCallSwap(ParkingEvent, frozen=True, kw_only=True, gc=False):
    """ParkedCallSwap: the channel is now in the place of another one."""


class MixMonitorStart(ChannelFact, frozen=True, kw_only=True, gc=False):
    """MixMonitorStart."""


class MixMonitorStop(ChannelFact, frozen=True, kw_only=True, gc=False):
    """MixMonitorStop."""


class QueueCallerEvent(ChannelFact, frozen=True, kw_only=True, gc=False):
    """A caller of a queue."""

    queue: str = field(name="Queue", default="")


class QueueCallerJoin(QueueCallerEvent, frozen=True, kw_only=True, gc=False):
    """QueueCallerJoin; ``exten`` and ``context`` are the caller's place in the dialplan."""

    exten: str = field(name="Exten", default="")
    context: str = field(name="Context", default="")
    position_in_queue: Int | None = field(name="Position", default=None)


class QueueCallerLeave(QueueCallerEvent, frozen=True, kw_only=True, gc=False):
    """QueueCallerLeave."""


class QueueCallerAbandon(QueueCallerEvent, frozen=True, kw_only=True, gc=False):
    """QueueCallerAbandon; ``hold_time`` in seconds."""

    hold_time: Int = field(name="HoldTime", default=0)


class MemberEvent(QueueCallerEvent, frozen=True, kw_only=True, gc=False):
    """A caller of a queue, and a member's channel."""

    dest_unique_id: str = field(name="DestUniqueid", default="")
    interface: str = field(name="Interface", default="")
    member: str = field(name="MemberName", default="")


class AgentCall(MemberEvent, frozen=True, kw_only=True, gc=False):
    """AgentCalled."""


class AgentRingNoAnswer(MemberEvent, frozen=True, kw_only=True, gc=False):
    """AgentRingNoAnswer; ``ring_time`` in milliseconds."""

    ring_time: Int = field(name="RingTime", default=0)


class AgentConnect(MemberEvent, frozen=True, kw_only=True, gc=False):
    """AgentConnect; ``hold_time`` and ``ring_time`` in seconds."""

    hold_time: Int = field(name="HoldTime", default=0)
    ring_time: Int = field(name="RingTime", default=0)


class AgentComplete(MemberEvent, frozen=True, kw_only=True, gc=False):
    """AgentComplete; ``talk_time`` in seconds."""

    hold_time: Int = field(name="HoldTime", default=0)
    talk_time: Int = field(name="TalkTime", default=0)
    reason: str = field(name="Reason", default="")


class AgentLogin(ChannelFact, frozen=True, kw_only=True, gc=False):
    """AgentLogin of app_agent_pool."""

    agent: str = field(name="Agent", default="")


class AgentLogoff(ChannelFact, frozen=True, kw_only=True, gc=False):
    """AgentLogoff of app_agent_pool: the channel continues in the dialplan."""


class RtcpReport(AmiEvent, frozen=True, kw_only=True, gc=False):
    """RTCPSent and RTCPReceived; the jitter is in units of the codec's clock, ``rtt`` in seconds."""

    unique_id: str = field(name="Uniqueid", default="")
    lost: Float | None = field(name="Report0FractionLost", default=None)
    jitter: Float | None = field(name="Report0IAJitter", default=None)
    rtt: Float | None = field(name="RTT", default=None)
    mes: Float | None = field(name="MES", default=None)
