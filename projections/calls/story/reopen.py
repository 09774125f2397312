"""Makes working state of a call that has ended, from its object: as far as late lines and records need it."""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.items import LOCAL, Gap, Guest, Hold, Leg, Ring, Talk, Transfer, kind_of
from schemas import calls as wire


def gaps_of(call: wire.Call) -> list[Gap]:
    """Return the gaps of an object as working state."""
    return [Gap(gap.reason, gap.from_, gap.until) for gap in call.gaps]


def reopen(call: wire.Call, number: int, updated_at: datetime) -> OpenCall:
    """Return the legs, rings, talks, transfers and holds of an object as working state."""
    state = OpenCall(call.pbx, call.linkedid, number, updated_at, aliases=list(call.aliases))
    state.gaps = gaps_of(call)
    state.user_field, state.account_code = call.user_field or "", call.account_code or ""
    for one in call.legs:
        kind = LOCAL if one.local else kind_of(one.channel)
        leg = Leg(one.unique_id, one.channel, one.started_at, list(one.linkedids), kind=kind)
        leg.answered_at, leg.ended_at = one.answered_at, one.ended_at
        leg.cause, leg.cause_text = one.cause, one.cause_text or ""
        state.legs[leg.unique_id] = leg
    state.up = sum(leg.ended_at is None for leg in state.legs.values())
    for party in call.parties:
        _name(state, party, is_agent=party.role == "agent")
    if call.caller is not None and (leg_of_caller := state.legs.get(call.caller.unique_id)) is not None:
        leg_of_caller.number_at_start = call.caller.number_at_start or ""
        leg_of_caller.name_at_start = call.caller.name_at_start or ""
        leg_of_caller.exten = call.dialled.number or ""
        leg_of_caller.context = call.dialled.context or ""
    for ring in call.rings:
        _add_ring(state, ring)
    for talk in call.conversations:
        persons = sorted(party.unique_id for party in talk.parties)
        state.add_talk(Talk(persons, talk.started_at, talk.ended_at, talk.conference or ""))
    for transfer in call.transfers:
        whom = transfer.transferee.unique_id if transfer.transferee else ""
        to = [party.unique_id for party in transfer.to]
        place = (transfer.number or "", transfer.context or "")
        state.transfers.append(Transfer(transfer.kind, transfer.at, transfer.by.unique_id, whom, to, *place))
    state.holds = [Hold(hold.by.unique_id, hold.from_, hold.until) for hold in call.holds]
    return state


def _name(state: OpenCall, party: wire.CallParty, *, is_agent: bool) -> None:
    number, name = party.number or "", party.name or ""
    leg = state.legs.get(party.unique_id)
    if leg is None:
        state.guests[party.unique_id] = Guest(party.channel, number, name, is_agent)
        return
    leg.number, leg.name, leg.first_number, leg.first_name = number, name, number, name
    leg.is_fixed = True


def _add_ring(state: OpenCall, ring: wire.Ring) -> None:
    source = ring.from_.unique_id if ring.from_ else ""
    state.rings.append(
        Ring(
            ring.to.unique_id,
            ring.started_at,
            source,
            source,
            ring.dialled or "",
            ring.queue or "",
            ring.ringing_at,
            ring.ended_at,
            ring.outcome or "",
        ),
    )
    if (leg := state.legs.get(ring.to.unique_id)) is not None:
        leg.is_dialled, leg.source, leg.dialler = True, source, source
