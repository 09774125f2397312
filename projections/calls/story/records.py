"""Facts that call records add to a call: the user field and the account code."""

from projections.calls.story.call import OpenCall, by_wealth
from projections.calls.story.pbx import Pbx
from projections.calls.story.people import caller_of
from projections.calls.story.row import Ended
from projections.calls.story.spaces import find_story
from schemas.ami import call as ami


def add_record(pbx: Pbx, e: ami.CallRecordEvent) -> None:
    """Take a record's user field and account code, if it is one of the caller's channel."""
    match = find_story((*pbx.richer, pbx), e.unique_id, e.linked_id)
    if match is None:
        return
    space, story = match
    if isinstance(story, OpenCall):
        story.add_source("cdr")
        caller = caller_of(story)
        if caller is not None and caller.unique_id == e.unique_id:
            story.user_field = e.user_field or story.user_field
            story.account_code = e.account_code or story.account_code
        space.touch(story, e.at)
    else:
        complete_ended(space, story, e)


def complete_ended(pbx: Pbx, ended: Ended, e: ami.CallRecordEvent) -> None:
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
