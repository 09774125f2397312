"""Transfers: blind, attended, and blonde (attended before the consultation is answered)."""

from datetime import datetime

from projections.calls.story.bridges import talks_of
from projections.calls.story.call import OpenCall
from projections.calls.story.items import LOCAL, Transfer
from projections.calls.story.pbx import Pbx
from projections.calls.story.queues import replace_caller
from schemas.ami import call as ami

UP = 6


def transfer_blindly(pbx: Pbx, e: ami.BlindTransfer) -> None:
    """Record a blind transfer; without a transferee in the event, who talked with the transferer is the transferee."""
    if e.result != "Success":
        return
    by = pbx.person_behind(e.by_unique_id)
    transferee = beyond(pbx, e.transferee_unique_id)
    call = own_call(pbx, transferee, by, e.by_unique_id)
    if call is None or not by:
        return
    if not transferee:
        transferee = next(iter(partners(call, by)), "")
    add_transfer(pbx, call, Transfer("blind", e.at, by, transferee, number=e.exten, context=e.context))


def transfer_attended(pbx: Pbx, e: ami.CallTransfer) -> None:
    """Record an attended transfer, which makes the calls of the transferer's two legs one."""
    if e.result != "Success":
        return
    # A leg in an application has no bridge: that one is the consultation, whichever of the two it is.
    turned = not e.bridge_id and bool(e.second_bridge_id)
    first, second = (e.second_unique_id, e.by_unique_id) if turned else (e.by_unique_id, e.second_unique_id)
    call = united(pbx, (e.transferee_unique_id, e.target_unique_id, first, second), e.at)
    by = pbx.person_behind(first) or pbx.person_behind(second)
    if call is None or not by:
        return
    sides = [e.target_unique_id, e.transferee_unique_id] if turned else [e.transferee_unique_id, e.target_unique_id]
    transferee, target = (beyond(pbx, side) for side in sides)
    consultation = pbx.person_behind(second) or second
    pending = pending_phones(pbx, call, second, sides[1])
    mates = [mate for mate in partners(call, by) if mate not in {target, consultation}]
    if not transferee:
        # On one channel the last partner is the consultation's, unless that one is known or rings yet.
        is_last = consultation != by or bool(target or pending) or len(mates) < 2
        transferee = next(iter(mates if is_last else mates[1:]), "")
    if not target and e.dest_type != "App" and not is_pending(e, sides[1]):
        others = partners(call, consultation)
        target = next((mate for mate in others if mate not in {transferee, by}), "")
    is_blonde = not target and (bool(pending) or (e.dest_type == "App" and e.dest_app == "Dial"))
    kind = "blonde" if is_blonde else "attended"
    transfer = Transfer(kind, e.at, by, transferee, pending if is_blonde else [target] if target else [])
    transfer.number, transfer.context = asked_for(pbx, second, sides[1] or next(iter(transfer.to), ""), first)
    add_transfer(pbx, call, transfer)
    if e.dest_type == "App" and sides[0]:
        take_place(call, second, sides[0], transferee or sides[0])


def is_pending(e: ami.CallTransfer, side: str) -> bool:
    """Return whether the consultation is a half of a Local channel whose phone is not up."""
    return bool(side) and side == e.target_unique_id and e.target_state != UP


def beyond(pbx: Pbx, unique_id: str) -> str:
    """Return the person of a channel: of a half of a Local channel, the one beyond it."""
    return pbx.person_ahead(unique_id) if unique_id else ""


def partners(call: OpenCall, person: str) -> list[str]:
    """Return with whom a person talked, the last first."""
    others: list[str] = []
    for talk in talks_of(call, person):
        others += [other for other in talk.persons if other != person and other not in others]
    return others


def pending_phones(pbx: Pbx, call: OpenCall, consultation: str, side: str) -> list[str]:
    """Return the phones that ring for the consultation; those that a queue rings are the queue's."""
    half = pbx.legs[side].other if side in pbx.legs else ""
    return [
        ring.to
        for ring in call.rings
        if ring.ended_at is None
        and not ring.queue
        and (consultation in {ring.dialler, ring.source} or (bool(half) and ring.dialler == half))
    ]


def asked_for(pbx: Pbx, consultation: str, side: str, first: str) -> tuple[str, str]:
    """Return the extension and context of the consultation.

    The transferer's second channel has it. On one channel ``side`` does, the consultation's other end: a half of a
    Local channel, or already the phone that the half has dialled.
    """
    ids = [side, pbx.legs[side].other if side in pbx.legs else ""]
    if side in pbx.legs and (dialler := pbx.legs.get(pbx.legs[side].dialler)) is not None and dialler.kind == LOCAL:
        ids += [dialler.unique_id, dialler.other]
    for unique_id in [*([consultation] if consultation != first else []), *ids]:
        leg = pbx.legs.get(unique_id)
        # A person who was not dialled shows the extension that he asked for himself.
        is_asked = leg is not None and (leg.kind == LOCAL or leg.is_dialled or unique_id == consultation)
        if leg is not None and is_asked and leg.exten:
            return leg.exten, leg.context
    return "", ""


def take_place(call: OpenCall, replaced: str, by: str, party: str) -> None:
    """Give what a leg did in an application to the channel that takes its place: its dials, and its queue."""
    replace_caller(call, replaced, by, party)
    for ring in call.rings:
        if ring.dialler == replaced and ring.ended_at is None:
            ring.dialler = by
    for leg in call.legs.values():
        if leg.dialler == replaced and leg.ended_at is None:
            leg.dialler = by


def add_transfer(pbx: Pbx, call: OpenCall, transfer: Transfer) -> None:
    """Add a transfer, unless the same event has come before."""
    if not any(t.by == transfer.by and t.at == transfer.at for t in call.transfers):
        call.add("transfers", call.transfers, transfer)
        pbx.touch(call, transfer.at)


def own_call(pbx: Pbx, *ids: str) -> OpenCall | None:
    """Return the first call of these channels. An agent's session comes after every other call."""
    calls = [call for unique_id in ids if (call := pbx.homes.get(unique_id)) is not None]
    return next((call for call in calls if not call.agent), calls[0] if calls else None)


def united(pbx: Pbx, ids: tuple[str, ...], at: datetime) -> OpenCall | None:
    """Merge the calls of these channels, and return it."""
    call = own_call(pbx, *ids)
    for unique_id in ids:
        home = pbx.homes.get(unique_id)
        if call is not None and home is not None:
            call = pbx.merge(call, home, at)
    return call
