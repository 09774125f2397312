"""Facts that call records add to a call: the user field and the account code."""

from typing import Any

from projections.calls.story.pbx import Pbx
from projections.calls.story.people import caller_of
from schemas.ami import call as ami
from schemas.calls import Call


def add_record(pbx: Pbx, e: ami.CallRecordEvent) -> None:
    """Take a record's user field and account code, if it is one of the caller's channel."""
    call = pbx.homes.get(e.unique_id) or pbx.calls.get(e.linked_id)
    if call is not None:
        call.has_record = True
        caller = caller_of(call)
        if caller is not None and caller.unique_id == e.unique_id:
            call.user_field = e.user_field or call.user_field
            call.account_code = e.account_code or call.account_code
        pbx.touch(call, e.at)
        return
    ended = pbx.ended.get(e.unique_id) or pbx.ended.get(e.linked_id)
    if ended is not None:
        complete_ended(pbx, ended, e)


def complete_ended(pbx: Pbx, ended: Any, e: ami.CallRecordEvent) -> None:
    """Add a late record to a call that has ended."""
    call: Call = ended.call
    before = (list(call.sources), call.user_field, call.account_code)
    if "cdr" not in call.sources:
        call.sources.append("cdr")
    if call.caller is not None and call.caller.unique_id == e.unique_id:
        call.user_field = e.user_field or call.user_field
        call.account_code = e.account_code or call.account_code
    if before != (call.sources, call.user_field, call.account_code):
        ended.updated_at = e.at
        pbx.dirty[call.linkedid] = None
