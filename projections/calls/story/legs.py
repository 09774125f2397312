"""Legs: facts of a channel in its events, and channels that were up before the listener was connected."""

import re
from datetime import UTC, datetime
from typing import Any

from projections.calls.story.call import LONGEST, OpenCall
from projections.calls.story.ids import age_of
from projections.calls.story.items import Gap, Guest, Leg
from projections.calls.story.pbx import Pbx, make_leg

RINGING, UP = 5, 6
"""Values of ChannelState."""

DIALABLE = re.compile(r"[0-9*#+]+")
"""Extensions that a person can dial; s, i, t, h and names are not."""

OUTGOING = {"AppDial", "AppDial2", "AppQueue"}
"""Applications of a dialled channel, which runs no dialplan."""

OLDEST, FARTHEST = 366 * 86400, 86400
"""Seconds for which a channel may have been up, and by which the PBX's clock may be ahead of Ringledger's."""


def clean(text: str) -> str:
    """Return a number or name, empty where Asterisk does not know it."""
    return "" if text == "<unknown>" else text


def show_number(leg: Leg, number: str, name: str) -> bool:
    """Take a caller id that an event shows, and return whether it changed anything."""
    number, name = clean(number), clean(name)
    changed = False
    if number and not leg.first_number:
        leg.first_number, leg.first_name = number, name
        changed = True
    if not leg.is_fixed and ((number and number != leg.number) or (name and name != leg.name)):
        leg.number, leg.name = number or leg.number, name or leg.name
        changed = True
    return changed


def take_extension(call: OpenCall, leg: Leg, exten: str, context: str) -> bool:
    """Take the first extension that can be dialled, and return whether it is taken.

    After a conversation the dialplan is at a place that a transferer chose.
    """
    if leg.exten or not DIALABLE.fullmatch(exten) or any(leg.unique_id in talk.persons for talk in call.talks):
        return False
    leg.exten, leg.context = exten, context
    return True


def fix_number(leg: Leg) -> None:
    """Keep the caller id as it is: what is set later, at the other side's wish, does not change who it was."""
    leg.is_fixed = True


def add_channel(pbx: Pbx, e: Any, started_at: datetime | None = None) -> Leg | None:
    """Add a channel that an event shows to the call of its linked id; None where the call is full."""
    linkedid = e.linked_id or e.unique_id
    if linkedid in pbx.ended and linkedid not in pbx.calls:
        linkedid = e.unique_id
    call = pbx.call_of(linkedid, e.position, e.at)
    leg = make_leg(e.unique_id, e.linked_id, e.channel, started_at or e.at)
    return leg if pbx.add_leg(call, leg) else None


def adopt_channel(pbx: Pbx, e: Any) -> Leg | None:
    """Add a channel that was up before its first event in the log; its unique id holds its start."""
    if not e.unique_id or not e.channel or e.unique_id in pbx.ended or e.unique_id in pbx.gone:
        return None
    if e.channel.startswith("Message/"):
        return None
    leg = add_channel(pbx, e, began_at(e.unique_id, e.at))
    if leg is not None:
        call = pbx.homes[e.unique_id]
        join_call(call, e.at)
        pbx.touch(call, e.at)
    return leg


def began_at(unique_id: str, at: datetime) -> datetime:
    """Return the second in a unique id, which is of the PBX's clock, or ``at`` where it has none.

    Items of lists have our clock, from which that of the PBX may differ.
    """
    seconds = age_of(unique_id)[0]
    is_time = at.timestamp() - OLDEST < seconds < at.timestamp() + FARTHEST
    return datetime.fromtimestamp(seconds, UTC) if is_time else at


def join_call(call: OpenCall, at: datetime) -> None:
    """Note that a channel of the call was up before its first event in the log."""
    for gap in call.gaps:
        if gap.reason == "joined":
            gap.ended_at = at
            return
    call.add("gaps", call.gaps, Gap("joined", None, at))


def drop_leg(pbx: Pbx, call: OpenCall, leg: Leg) -> None:
    """Forget a channel that has ended, if the call has too many, but for the first one. The talks still name it.

    A call may last for days, and each caller who meets it becomes part of it: a channel that is never hung up, or a
    Stasis bridge that is never empty. Then its aliases are as many, and those of channels alone are forgotten.
    """
    if len(call.legs) <= LONGEST or leg.unique_id in {call.linkedid, next(iter(call.legs))}:
        return
    if any(leg.unique_id in talk.persons for talk in call.talks):
        call.guests[leg.unique_id] = Guest(leg.channel, *identity(leg, is_caller=False))
    del call.legs[leg.unique_id], pbx.homes[leg.unique_id], pbx.legs[leg.unique_id]
    call.more["legs"] = call.more.get("legs", 0) + 1
    ids = {one for other in call.legs.values() for one in (other.unique_id, *other.linkedids)}
    for one in (leg.unique_id, *leg.linkedids):
        if len(call.aliases) > LONGEST and one in call.aliases and one not in ids:
            call.aliases.remove(one)
            call.more["aliases"] = call.more.get("aliases", 0) + 1
            if pbx.calls.get(one) is call:
                del pbx.calls[one]


def take_state(leg: Leg, state: int, at: datetime) -> None:
    """Note when a channel rang and when it was up."""
    if state == UP and leg.answered_at is None:
        leg.answered_at = at
    elif state == RINGING and leg.ringing_at is None:
        leg.ringing_at = at


def identity(leg: Leg, *, is_caller: bool) -> tuple[str, str]:
    """Return the number and name of a person: of one who was dialled, the first that the channel showed."""
    if leg.is_dialled and not is_caller and leg.first_number:
        return leg.first_number, leg.first_name
    return leg.number, leg.name
