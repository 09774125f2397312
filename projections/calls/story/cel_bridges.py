"""Bridges of CEL files of old systems: without their ids, or as BRIDGE_START and BRIDGE_END of the caller alone."""

from datetime import timedelta

from projections.calls.story import bridges
from projections.calls.story.call import PERSON, Leg, OpenCall
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.cel import CelEvent

MOMENT = timedelta(seconds=1)


def bridge_of(pbx: Pbx, e: CelEvent) -> str:
    """Return the bridge that a channel enters without its id: that of its peers, or of who entered before it alone."""
    peers = {name for name in e.peer.split(",") if name}
    others = [leg for leg in pbx.legs.values() if leg.bridge and leg.unique_id != e.unique_id]
    for leg in reversed(others):
        if leg.channel in peers:
            return leg.bridge
    call = pbx.homes.get(e.unique_id) or pbx.calls.get(e.linked_id)
    for leg in [] if call is None else reversed(call.legs.values()):
        if leg.bridge and leg.unique_id != e.unique_id and len(pbx.bridges[leg.bridge]) == 1:
            return leg.bridge
    return f"{e.unique_id}/{e.position}"


def start_old_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Bridge the caller with the other end: the peer that the line names, or else the channel that answered last."""
    call, leg = pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    other = peer_of(pbx, call, leg, e.peer)
    if other is None or leg.ended_at is not None:
        return
    bridge = f"{e.unique_id}/{e.position}"
    for one in (leg, other):
        shown = {"unique_id": one.unique_id, "linked_id": one.linkedids[-1], "channel": one.channel}
        moment = {"pbx": e.pbx, "at": e.at, "recorded": e.recorded, "position": e.position}
        bridges.enter_bridge(
            pbx, ami.BridgeEnter(**moment, **shown, bridge_id=bridge, bridge_type="basic", technology="simple_bridge")
        )


def peer_of(pbx: Pbx, call: OpenCall, leg: Leg, peer: str) -> Leg | None:
    """Return the other end of the caller's bridge."""
    others = [
        one for one in call.legs.values() if one is not leg and one.ended_at is None and one.unique_id != leg.other
    ]
    if peer:
        named = [one for one in (*pbx.legs.values(), *others) if one.channel == peer and one.ended_at is None]
        if named:
            return named[-1]
    up = [one for one in others if one.answered_at is not None and not one.bridge]
    up.sort(key=lambda one: (one.kind == PERSON, one.answered_at))
    return up[-1] if up else None


def end_old_bridge(pbx: Pbx, e: CelEvent) -> None:
    """End the caller's bridge, for both of its ends."""
    leg = pbx.legs[e.unique_id]
    for member in list(pbx.bridges.get(leg.bridge, ())):
        bridges.leave_bridge(pbx, pbx.legs[member], e.at)
        pbx.touch(pbx.homes[member], e.at)
