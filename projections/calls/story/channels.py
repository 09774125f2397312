"""Channels: their beginning, state, caller id, account and name."""

from projections.calls.story.items import kind_of
from projections.calls.story.legs import (
    RINGING,
    add_channel,
    adopt_channel,
    clean,
    join_call,
    show_number,
    take_extension,
    take_state,
)
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.channel import Rename


def begin_channel(pbx: Pbx, e: ami.Newchannel) -> None:
    """Begin a leg, in the call of its linked id."""
    if not e.unique_id or e.channel.startswith("Message/"):
        return
    leg = pbx.legs.get(e.unique_id)
    if leg is None:
        if e.unique_id in pbx.ended:
            return
        leg = add_channel(pbx, e)
        if leg is None:
            call = pbx.calls[e.linked_id or e.unique_id]
            call.more["legs"] = call.more.get("legs", 0) + 1
            pbx.touch(call, e.at)
            return
        if e.linked_id and e.linked_id != e.unique_id and len(pbx.homes[e.unique_id].legs) == 1:
            # The channel that began this call was never announced: the call is older than the link.
            join_call(pbx.homes[e.unique_id], e.at)
    call = pbx.homes[e.unique_id]
    leg.number_at_start, leg.name_at_start = clean(e.number), clean(e.name)
    take_extension(call, leg, e.exten, e.context)
    leg.account_code = leg.account_code or e.account_code
    show_number(leg, e.number, e.name)
    take_state(leg, e.state, e.at)
    if pbx.epoch:
        pbx.listed.add(e.unique_id)
    pbx.touch(call, e.at)


def change_state(pbx: Pbx, e: ami.Newstate) -> None:
    """Note a channel's ringing or answer, and that of its ring."""
    leg = pbx.legs.get(e.unique_id) or adopt_channel(pbx, e)
    if leg is None:
        return
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg.is_stale = False
    take_state(leg, e.state, e.at)
    show_number(leg, e.number, e.name)
    if e.state == RINGING and leg.is_dialled and (ring := pbx.ring_of(call, e.unique_id)) is not None:
        ring.ringing_at = ring.ringing_at or e.at
    pbx.touch(call, e.at)


def change_callerid(pbx: Pbx, e: ami.NewCallerid) -> None:
    """Take a caller id that was set."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is not None and show_number(pbx.legs[e.unique_id], e.number, e.name):
        pbx.touch(call, e.at)


def change_account(pbx: Pbx, e: ami.NewAccountCode) -> None:
    """Take an account code that was set."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is not None and e.account_code:
        pbx.legs[e.unique_id].account_code = e.account_code
        pbx.touch(call, e.at)


def rename_channel(pbx: Pbx, e: Rename) -> None:
    """Take a channel's new name, but not those that a masquerade gives for a moment."""
    leg = pbx.legs.get(e.unique_id)
    if leg is not None and e.new_name and not e.new_name.endswith(("<MASQ>", "<ZOMBIE>")):
        leg.channel, leg.kind = e.new_name, kind_of(e.new_name)
        pbx.touch(pbx.homes[e.unique_id], e.at)
