"""Peers and registrations of the channel drivers (chan_sip up to Asterisk 20, chan_iax2, chan_pjsip)."""

from msgspec import field

from schemas.ami import AmiEvent, Int


class PeerEntry(AmiEvent, frozen=True, kw_only=True, gc=False):
    """PeerEntry, an item of SIPpeers and IAXpeerlist; no address is ``-none-`` (SIP) or ``(null)`` (IAX)."""

    action_id: str = field(name="ActionID", default="")
    channel_type: str = field(name="Channeltype", default="")
    object_name: str = field(name="ObjectName", default="")
    chan_object_type: str = field(name="ChanObjectType", default="")
    ip: str = field(name="IPaddress", default="")
    ip_port: str = field(name="IPport", default="")
    iax_port: str = field(name="Port", default="")
    dynamic: str = field(name="Dynamic", default="")
    auto_force_port: str = field(name="AutoForcerport", default="")
    force_port: str = field(name="Forcerport", default="")
    auto_comedia: str = field(name="AutoComedia", default="")
    comedia: str = field(name="Comedia", default="")
    video_support: str = field(name="VideoSupport", default="")
    text_support: str = field(name="TextSupport", default="")
    acl: str = field(name="ACL", default="")
    status: str = field(name="Status", default="")
    realtime_device: str = field(name="RealtimeDevice", default="")
    description: str = field(name="Description", default="")


class PeerStatus(AmiEvent, frozen=True, kw_only=True, gc=False):
    """PeerStatus; ``peer`` is ``SIP/name``; ``time`` (ms) is absent in Asterisk 22."""

    channel_type: str = field(name="ChannelType", default="")
    peer: str = field(name="Peer", default="")
    status: str = field(name="PeerStatus", default="")
    address: str = field(name="Address", default="")
    port: str = field(name="Port", default="")
    time: Int | None = field(name="Time", default=None)


class RegistryEntry(AmiEvent, frozen=True, kw_only=True, gc=False):
    """RegistryEntry, an item of SIPshowregistry and IAXregistry (whose host holds the port)."""

    action_id: str = field(name="ActionID", default="")
    host: str = field(name="Host", default="")
    port: Int = field(name="Port", default=0)
    username: str = field(name="Username", default="")
    domain: str = field(name="Domain", default="")
    domain_port: Int = field(name="DomainPort", default=0)
    refresh: Int = field(name="Refresh", default=0)
    state: str = field(name="State", default="")
    registration_time: Int = field(name="RegistrationTime", default=0)


class Registry(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Registry; PJSIP puts the client URI into ``username`` and the server URI into ``domain``."""

    channel_type: str = field(name="ChannelType", default="")
    username: str = field(name="Username", default="")
    domain: str = field(name="Domain", default="")
    status: str = field(name="Status", default="")
