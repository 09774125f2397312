"""Acts at the PBX: channels and parked calls are hung up, modules loaded, reloaded and unloaded."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World
from tests.support.fake_ami import block

CHANNELS, PARKED, MODULES = "/v1/admin/core/channels", "/v1/admin/park/parkedcalls", "/v1/admin/core/modules"


async def call(world: World) -> tuple[str, str]:
    """Have the PBX begin a call; return the channel's name and unique id."""
    unique_id = f"1795300000.{world.name('')}"
    channel = f"PJSIP/{world.name('phone')}-00000001"
    world.pbx.channels[channel] = unique_id
    await world.hears(
        block(
            "Event: Newchannel",
            "Privilege: call,all",
            f"Channel: {channel}",
            "ChannelState: 6",
            "ChannelStateDesc: Up",
            f"Uniqueid: {unique_id}",
            f"Linkedid: {unique_id}",
        )
    )
    return channel, unique_id


async def parked(world: World) -> tuple[str, str]:
    """Have a call, and have it parked."""
    channel, unique_id = await call(world)
    await world.hears(
        block(
            "Event: ParkedCall",
            "Privilege: call,all",
            f"ParkeeChannel: {channel}",
            "ParkeeChannelState: 6",
            f"ParkeeUniqueid: {unique_id}",
            f"ParkeeLinkedid: {unique_id}",
            "Parkinglot: default",
            "ParkingSpace: 719",
            "ParkingTimeout: 45",
            "ParkingDuration: 0",
        )
    )
    return channel, unique_id


@exercise("jade.core.channels.hangup", at_pbx=True)
async def hangup(world: World) -> AsyncGenerator[Ask, Reply]:
    channel, unique_id = await call(world)
    await world.one(CHANNELS, unique_id=unique_id)
    yield Ask(unique_id, token=world.admin.token)
    await world.gone(CHANNELS, unique_id)
    assert [a["Channel"] for a in world.pbx.actions_named("Hangup")].count(channel) == 1


@exercise("jade.park.parkedcalls.hangup", at_pbx=True)
async def hangup_parked(world: World) -> AsyncGenerator[Ask, Reply]:
    channel, unique_id = await parked(world)
    await world.one(PARKED, parkee_unique_id=unique_id)
    yield Ask(unique_id, token=world.admin.token)
    await world.gone(PARKED, unique_id)
    await world.gone(CHANNELS, unique_id)
    assert [a["Channel"] for a in world.pbx.actions_named("Hangup")].count(channel) == 1


async def module(world: World) -> str:
    """Have a module that is loaded."""
    name = world.name("app_test")
    world.pbx.modules.add(name)
    await world.hears(block("Event: Load", "Privilege: system,all", f"Module: {name}.so", "Status: Success"))
    return name


def count_actions(world: World, name: str, what: str) -> int:
    """Return how many of these actions for the module the PBX received."""
    asked_for = [(a["Module"].removesuffix(".so"), a["LoadType"]) for a in world.pbx.actions_named("ModuleLoad")]
    return asked_for.count((name, what))


# Asterisk refuses a module that it does not find in the same words as one that will not be loaded.
@exercise("jade.core.modules.load", at_pbx=True, tells="pbx", unique=True, unknown=frozenset({404, 502}))
async def load(world: World) -> AsyncGenerator[Ask, Reply]:
    name = world.name("app_test")
    world.pbx.loadable.add(name)
    await world.gone(MODULES, name)
    yield Ask(name, token=world.admin.token)
    assert (await world.one(MODULES, name=name))["load"] == "Running"
    assert count_actions(world, name, "load") == 1


@exercise("jade.core.modules.reload", at_pbx=True)
async def reload(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await module(world)
    yield Ask(name, token=world.admin.token)
    await world.one(MODULES, name=name)
    assert count_actions(world, name, "reload") == 1


@exercise("jade.core.modules.unload", at_pbx=True)
async def unload(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await module(world)
    yield Ask(name, token=world.admin.token)
    await world.gone(MODULES, name)
    assert count_actions(world, name, "unload") == 1
