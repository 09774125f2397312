"""Calls that only call records have, and what a record adds to a call of a richer source."""

from projections.calls.story import cdr
from projections.calls.story.call import Legacy, OpenCall, by_wealth
from projections.calls.story.endings import end_call
from projections.calls.story.pbx import Pbx
from projections.calls.story.people import caller_of
from projections.calls.story.reopen import reopen
from projections.calls.story.row import Ended
from projections.calls.story.spaces import Story, find_story, give, richer_story
from projections.engine.pbx_clock import times
from schemas.ami.cdr import Cdr


def fold_record(pbx: Pbx, e: Cdr) -> None:
    """Fold a record: a richer call takes its user field and account code, else it is the call's story."""
    match = richer_story(pbx, e.unique_id, e.linked_id)
    if match is None:
        take_own(pbx, e)
        return
    space, story = match
    if space.source == "queue_log":
        add_ids(pbx, space, story, e)
    if isinstance(story, Ended):
        complete_ended(space, story, e)
        return
    story.add_source("cdr")
    add_fields(story, e)
    space.touch(story, e.at)


def add_ids(pbx: Pbx, space: Pbx, story: Story, e: Cdr) -> None:
    """Give a call of queue_log the ids of its record, with the records under them: the file lacks linked ids."""
    for one in (e.unique_id, e.linked_id):
        if not one or find_story((space,), one) is not None:
            continue
        ended = pbx.ended.get(one)
        if ended is None:
            give(space, story, Legacy(e.position, [one], [pbx.source], "", "", [], []))
        else:
            pbx.withdraw_ended(ended)
            give(space, story, ended.legacy())


def add_fields(call: OpenCall, e: Cdr) -> None:
    """Take a record's user field and account code, if it is one of the caller's channel."""
    caller = caller_of(call)
    if caller is not None and caller.unique_id == e.unique_id:
        call.user_field = e.user_field or call.user_field
        call.account_code = e.account_code or call.account_code


def complete_ended(pbx: Pbx, ended: Ended, e: Cdr) -> None:
    """Add a late record to a call that has ended."""
    call = ended.call
    before = (call.sources, call.user_field, call.account_code)
    call.sources = by_wealth((*call.sources, "cdr"))  # type: ignore[assignment]
    if call.caller is not None and call.caller.unique_id == e.unique_id:
        call.user_field = e.user_field or call.user_field
        call.account_code = e.account_code or call.account_code
    if before != (call.sources, call.user_field, call.account_code):
        ended.updated_at = e.at
        pbx.dirty[call.linkedid] = None


def take_own(pbx: Pbx, e: Cdr) -> None:
    """Fold a record into a call that only records have, a new one if need be."""
    one = e.unique_id or e.linked_id
    if not one or not e.channel:
        return
    try:
        when = times(pbx.clock, e)
    except ValueError:
        return  # `call_records` reports a record whose times are none.
    call = own_call(pbx, one) or own_call(pbx, e.linked_id)
    if call is None:
        call = pbx.call_of(e.linked_id or one, e.position, e.at)
    elif e.linked_id and e.linked_id not in call.ids():
        other = own_call(pbx, e.linked_id)
        call = pbx.rename(call, e.linked_id) if other is None else pbx.merge(call, other, e.at)
    for unique_id in call.legs:
        del pbx.homes[unique_id], pbx.legs[unique_id]
    cdr.take_record(call, e, when)
    for unique_id, leg in call.legs.items():
        pbx.homes[unique_id], pbx.legs[unique_id] = call, leg
    add_fields(call, e)
    pbx.touch(call, e.at)
    end_call(pbx, call, e.at)


def own_call(pbx: Pbx, one: str) -> OpenCall | None:
    """Return the call of an id that only records have, open again; each record ends it at once."""
    ended = pbx.ended.get(one) if one else None
    if ended is None:
        return pbx.find(one) if one else None
    pbx.withdraw_ended(ended)
    call = reopen(ended.call, ended.number, ended.updated_at)
    call.source, call.trunks = pbx.source, pbx.trunks
    pbx.put(call)
    return call
