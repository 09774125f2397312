"""Transfers, pickups, forwards and parking of CEL."""

from collections.abc import Callable
from typing import Any

from projections.calls.story import holds, transfers
from projections.calls.story.cel.queues import take_place
from projections.calls.story.cel.rings import forward_ring
from projections.calls.story.cel.shapes import real_id, shape
from projections.calls.story.legs import RINGING, UP
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.cel import CelDetails, CelEvent

SWAPPED = "ParkedCallSwap"
PARK_ENDS: dict[str, tuple[type[ami.ParkingEvent], Callable[[Pbx, Any], None]]] = {
    "ParkedCallUnparked": (ami.UnParkedCall, holds.retrieve),
    "UnParkedCall": (ami.UnParkedCall, holds.retrieve),
    "ParkedCallTimeOut": (ami.ParkedCallTimeOut, holds.time_out),
    "ParkedCallGiveUp": (ami.ParkedCallGiveUp, holds.give_up),
}
"""The event of a stay's end, by the reason in PARK_END; UnParkedCall is that of Asterisk 1.8 and 11."""


def named(pbx: Pbx, name: str) -> str:
    """Return the unique id of the newest channel of a name, empty where there is none."""
    return next((one.unique_id for one in reversed(pbx.legs.values()) if one.channel == name), "") if name else ""


def transfer_blindly(pbx: Pbx, e: CelEvent) -> None:
    """Record a blind transfer; Asterisk 1.8 and 11 name the transferee as the peer."""
    details = e.details
    transferee = real_id(details.transferee_channel_uniqueid) or named(pbx, e.peer)
    facts = {"exten": details.extension, "context": details.context, "bridge_id": details.bridge_id}
    transfers.transfer_blindly(
        pbx,
        shape(
            ami.BlindTransfer, e, result="Success", by_unique_id=e.unique_id, transferee_unique_id=transferee, **facts
        ),
    )


def transfer_attended(pbx: Pbx, e: CelEvent) -> None:
    """Record an attended transfer."""
    details: CelDetails = e.details
    if e.peer and not details.bridge1_id and not details.bridge2_id:
        complete_old_transfer(pbx, e)
        return
    transferee = real_id(details.transferee_channel_uniqueid)
    target = real_id(details.transfer_target_channel_uniqueid)
    is_up = target not in pbx.legs or pbx.legs[target].answered_at is not None
    transfers.transfer_attended(
        pbx,
        shape(
            ami.CallTransfer,
            e,
            result="Success",
            dest_type="App" if details.app else "Bridge",
            dest_app=details.app,
            by_unique_id=e.unique_id,
            bridge_id=real_id(details.bridge1_id),
            second_unique_id=real_id(details.channel2_uniqueid),
            second_bridge_id=real_id(details.bridge2_id),
            transferee_unique_id=transferee,
            target_unique_id=target,
            target_channel=real_id(details.transfer_target_channel_name),
            target_state=UP if is_up else RINGING,
        ),
    )
    if details.app and (call := pbx.homes.get(transferee)) is not None:
        take_place(call, transferee)


def complete_old_transfer(pbx: Pbx, e: CelEvent) -> None:
    """Record an attended transfer by feature code of Asterisk 1.8 and 11: the line is of the transferee.

    Its peer is the target. The transferer is the last person who talked with the transferee.
    """
    transferee, target = pbx.person_behind(e.unique_id), named(pbx, e.peer)
    by = next(iter(transfers.partners(pbx.homes[e.unique_id], transferee)), "")
    if by:
        facts = {"by_unique_id": by, "second_unique_id": by, "target_unique_id": target}
        facts |= {"result": "Success", "dest_type": "Bridge", "transferee_unique_id": transferee}
        transfers.transfer_attended(pbx, shape(ami.CallTransfer, e, **facts))


def pick_up(pbx: Pbx, e: CelEvent) -> None:
    """Record a pickup: the event is of the phone that rang, and names the picker, up to Asterisk 12 as the peer."""
    picker = e.details.pickup_channel_uniqueid or named(pbx, e.peer)
    own = pbx.legs.get(picker)
    if own is not None:
        linked = {"target_unique_id": e.unique_id, "target_linked_id": e.linked_id}
        holds.take_call(pbx, shape(ami.CallPickup, e, **linked | {"unique_id": picker, "linked_id": own.linkedids[-1]}))


def forward(pbx: Pbx, e: CelEvent) -> None:
    """Record a forward of the phone that the channel dialled last."""
    if e.details.forward:
        forward_ring(pbx, pbx.homes[e.unique_id], pbx.legs[e.unique_id], e.details.forward, e.at)


def park(pbx: Pbx, e: CelEvent) -> None:
    """Begin a stay in a parking lot."""
    holds.park(pbx, parking(ami.ParkingStart, e))


def end_park(pbx: Pbx, e: CelEvent) -> None:
    """End a stay in a parking lot; its outcome is open where the line has no reason, as in old files."""
    if e.details.reason == SWAPPED:
        # The line is of the channel that has taken the parked one's place, and it does not name the lot.
        for stay in pbx.homes[e.unique_id].parks:
            if stay.ended_at is None:
                stay.party = pbx.person_behind(e.unique_id) or stay.party
        return
    retriever = named(pbx, e.details.retriever or e.peer)
    if e.details.reason not in PARK_ENDS:
        holds.end_park(pbx, parking(ami.UnParkedCall, e, retriever_unique_id=retriever), "")
        return
    kind, end = PARK_ENDS[e.details.reason]
    end(pbx, parking(kind, e, retriever_unique_id=retriever))


def parking(kind: type[ami.ParkingEvent], e: CelEvent, **members: str) -> Any:
    """Return a parking event of the line's channel."""
    details = e.details
    return shape(kind, e, dial_string=details.parker_dial_string, lot=details.parking_lot, **members)
