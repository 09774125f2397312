"""Rings of a queue's members for a caller: AgentCalled begins one, and other events of class agent end it."""

from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.graph import HOPS
from projections.calls.story.items import PERSON, Leg, Offer
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami


def call_member(pbx: Pbx, e: ami.AgentCall) -> None:
    """Note on a member's channel which queue rings it; its DialBegin follows, and perhaps its Newchannel."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    leg = pbx.legs.get(e.dest_unique_id)
    if (leg is not None and leg.ended_at is not None) or e.dest_unique_id in pbx.ended:
        return
    home = call or pbx.homes.get(e.dest_unique_id)
    if home is None:
        return
    if offer_of(home, e.dest_unique_id) is None:
        offer = Offer(e.queue, e.member or e.interface, e.interface, e.dest_unique_id, e.at)
        home.add("offers", home.offers, offer)
    if leg is not None:
        leg.queue = e.queue
    name_queues(pbx, home)
    pbx.touch(home, e.at)


def name_queues(pbx: Pbx, call: OpenCall) -> None:
    """Name the queue of open rings that began before AgentCalled."""
    for ring in call.rings:
        if not ring.queue and ring.ended_at is None and ring.to in pbx.legs:
            ring.queue = queue_of(pbx, pbx.legs[ring.to])


def queue_of(pbx: Pbx, leg: Leg) -> str:
    """Return the queue that rings a phone, also through Local channels; AgentCalled names it for the first one."""
    for _ in range(HOPS):
        if leg.queue:
            return leg.queue
        dialler = pbx.legs.get(leg.dialler)
        if dialler is None or dialler.kind == PERSON:
            return ""
        half = pbx.legs.get(dialler.other)
        if half is None:
            return ""
        leg = half
    return ""


def offer_of(call: OpenCall, channel: str) -> Offer | None:
    """Return the open offer to a member, by the channel that the queue dialled."""
    for offer in reversed(call.offers):
        if offer.channel == channel and not offer.outcome:
            return offer
    return None


def end_offer(call: OpenCall, channel: str, outcome: str, at: datetime) -> None:
    """End an offer to a member; the first end counts, but RINGNOANSWER is the queue's own word."""
    offer = offer_of(call, channel)
    if offer is not None:
        finish_offer(call, offer, outcome, at)


def conclude_offer(
    call: OpenCall, e: ami.MemberEvent, outcome: str, rang: timedelta, at: datetime | None = None
) -> None:
    """End an offer with the queue's own word for it; one whose AgentCalled is missing began ``rang`` before.

    A member's phone may have forwarded, or a Local channel may be gone: then the event names another channel than
    AgentCalled did. That one has ended, and the offer with it.
    """
    at = at or e.at
    offer = offer_of(call, e.dest_unique_id) or offer_to(call, e)
    if offer is None:
        if any(one.channel == e.dest_unique_id for one in call.offers):
            return
        offer = Offer(e.queue, e.member or e.interface, e.interface, e.dest_unique_id, at - rang)
        if not call.add("offers", call.offers, offer):
            return
    finish_offer(call, offer, outcome, at)


def offer_to(call: OpenCall, e: ami.MemberEvent) -> Offer | None:
    """Return the last offer of the event's queue to its member, if that ended without a word of the queue."""
    for offer in reversed(call.offers):
        if (offer.queue, offer.interface) == (e.queue, e.interface):
            return offer if offer.outcome in {"", "cancelled"} else None
    return None


def finish_offer(call: OpenCall, offer: Offer, outcome: str, at: datetime) -> None:
    """End an offer."""
    offer.outcome, offer.ended_at = outcome, max(at, offer.started_at)
    if (leg := call.legs.get(offer.channel)) is not None:
        leg.queue = ""  # a Local half that answered may dial again: for a caller whom the agent transfers
