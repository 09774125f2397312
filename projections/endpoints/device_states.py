"""Device states of endpoints, queues, agents, hints and custom devices, as in DeviceStateList."""

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.device import DeviceState


class Device(Row):
    """One device; ``state`` is Asterisk's word: ``NOT_INUSE``, ``INUSE``, ``RINGING``, ``UNAVAILABLE``, ..."""

    device: str
    state: str = ""


# Channels of these technologies (core_unreal.c) report a state that Asterisk neither stores nor lists. A conference's
# announcer has a new name every time, so its row would stay forever.
UNLISTED = ("Announcer/", "CBAnn/", "CBRec/", "Local/", "Recorder/")


def by_device(e: DeviceState) -> Key | None:
    return (e.device,) if e.device and not e.device.startswith(UNLISTED) else None


def set_state(_row: Device | None, e: DeviceState) -> Device:
    return Device(pbx=e.pbx, tm_update=e.at, device=e.device, state=e.state)


DEVICE_STATES = ReadModel(
    name="device_states",
    version=1,
    row=Device,
    key=("device",),
    on={"DeviceStateChange": Handler(DeviceState, by_device, set_state, list_item_wins=True)},
    lists={"DeviceStateList": None},
)
