"""Events about device states."""

from msgspec import field

from schemas.ami import AmiEvent


class DeviceState(AmiEvent, frozen=True, kw_only=True, gc=False):
    """DeviceStateChange, live and in the response to DeviceStateList; ``state`` is Asterisk's word (``NOT_INUSE``)."""

    device: str = field(name="Device", default="")
    state: str = field(name="State", default="")
