"""Bridges of CEL, also of old systems: without their ids, or as BRIDGE_START and BRIDGE_END of the caller alone."""

from projections.calls.story import bridges
from projections.calls.story.call import OpenCall
from projections.calls.story.cel.queues import connect_caller, name_member
from projections.calls.story.cel.rings import accept_call, answer_ring, free_half
from projections.calls.story.cel.shapes import shape
from projections.calls.story.items import LOCAL, PERSON, Leg
from projections.calls.story.legs import OUTGOING
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.cel import CelEvent


def enter_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Put a channel into its bridge."""
    details, call, leg = e.details, pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    technology = details.bridge_technology
    if not technology and any(stay.party == e.unique_id and stay.ended_at is None for stay in call.parks):
        technology = "holding_bridge"
    is_holding = technology == "holding_bridge"
    bridge = details.bridge_id or (bridge_of(pbx, e) if not is_holding else new_bridge(e))
    is_conference = e.application == "ConfBridge" and technology in {"", "softmix"}
    facts = {
        "bridge_id": bridge,
        "technology": technology,
        "bridge_type": "base" if is_conference else "basic",
        "creator": "ConfBridge" if is_conference else "",
        "bridge_name": e.app_data.partition(",")[0] if is_conference else "",
    }
    if e.application == "AgentLogin" and is_holding:
        facts["bridge_type"] = "agent_hold"
    if not is_holding:
        connect_caller(pbx, call, leg, e)
    if leg.kind == LOCAL and leg.is_dialled and e.application not in OUTGOING:
        free_half(pbx, call, leg)
    bridges.enter_bridge(pbx, shape(ami.BridgeEnter, e, **facts))
    call = pbx.homes[e.unique_id]
    answer_ring(pbx, call, leg, e.at)
    if e.application == "AppDial":
        accept_call(pbx, call, leg, e.at)
    name_member(pbx, call)


def exit_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Take a channel out of its bridge."""
    leg = pbx.legs[e.unique_id]
    bridges.quit_bridge(pbx, shape(ami.BridgeLeave, e, bridge_id=e.details.bridge_id or leg.bridge))


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
    return new_bridge(e)


def new_bridge(e: CelEvent) -> str:
    """Return the id of a bridge that has none of its own."""
    return f"{e.unique_id}/{e.position}"


def start_old_bridge(pbx: Pbx, e: CelEvent) -> None:
    """Bridge the caller with the other end: the peer that the line names, or else the channel that answered last."""
    call, leg = pbx.homes[e.unique_id], pbx.legs[e.unique_id]
    other = peer_of(pbx, call, leg, e.peer)
    if other is None or leg.ended_at is not None:
        return
    bridge = new_bridge(e)
    for one in (leg, other):
        shown = {"unique_id": one.unique_id, "linked_id": one.linkedids[-1], "channel": one.channel}
        kind = {"bridge_type": "basic", "technology": "simple_bridge"}
        bridges.enter_bridge(pbx, shape(ami.BridgeEnter, e, bridge_id=bridge, **shown, **kind))


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
