"""Which call a line of queue_log belongs to, and the calls that only queue_log has."""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.endings import end_call, lose_call, set_of_calls
from projections.calls.story.log_late import late_call, log_offers_of, log_passages_of, write_log
from projections.calls.story.log_match import COMPLETIONS, EXITS, before, is_near, is_talk, passage_since
from projections.calls.story.log_passage import LogPassage
from projections.calls.story.log_story import is_over, write_story
from projections.calls.story.pbx import Pbx
from projections.calls.story.queue_log import LINES, START, settle, take_line
from projections.calls.story.reopen import gaps_of
from projections.calls.story.row import Ended
from projections.calls.story.spaces import Facts, Spaces, add_facts, richer_story
from schemas.call_settings import REFUSED
from schemas.link import LinkEvent
from schemas.queue_log import QueueLogLine

MOST_OPEN = 10_000
"""How many calls of a PBX may be open in queue_log alone; the oldest one is lost where there are more."""


def fold_line(pbx: Pbx, e: QueueLogLine) -> None:
    """Fold a line into its call, that of a richer source where there is one."""
    if e.event == START:
        end_all(pbx, e)
        return
    if not e.call_id or (e.event not in LINES and e.event not in pbx.words):
        return
    match = richer_story(pbx, e.call_id)
    if match is None:
        take_own(pbx, e)
        return
    space, story = match
    add_facts(space, story, Facts("queue_log", e.at, e.call_id))
    if isinstance(story, OpenCall):
        if take_line(story, e, pbx.words):
            space.touch(story, e.at)
        return
    call = late_call(story)
    if take_line(call, e, pbx.words) and write_log(story, call):
        story.updated_at = e.at
        space.dirty[story.call.linkedid] = None


def take_own(pbx: Pbx, e: QueueLogLine) -> None:
    """Fold a line into a call that only queue_log has, a new one if need be."""
    call = own_call(pbx, e)
    if call is None:
        begins = pbx.words[e.event] in REFUSED if e.event in pbx.words else e.event != "WRAPUPSTART"
        if not begins:
            return
        call = pbx.call_of(e.call_id, e.position, e.at)
        call.trunks = []  # The line names no endpoint.
    take_line(call, e, pbx.words)
    call.position = e.position
    publish(pbx, call, e.at)
    if len(pbx.calls) > MOST_OPEN:
        lose(pbx, min(set_of_calls(pbx), key=lambda one: one.number), e.at)


def own_call(pbx: Pbx, e: QueueLogLine) -> OpenCall | None:
    """Return the call of a line's id; one whose caller came into the queue under another id becomes that of the line.

    After an attended transfer into the queue, lines have the id of the caller who was transferred (`passage_since`).
    """
    call = pbx.find(e.call_id)
    if call is None and (ended := pbx.ended.get(e.call_id)) is not None:
        call = reopen_log(pbx, ended)
    if e.event != "CONNECT" and e.event not in COMPLETIONS and e.event not in EXITS:
        return call
    entered_at = before(e, e.number("hold"), e.number("talk"), e.number("wait"))
    if call is not None and any(continues(one, e, entered_at) for one in call.log_passages):
        return call
    others = [(one, passage) for one in set_of_calls(pbx) if (passage := passage_since(one, e, entered_at)) is not None]
    if not others:
        return call
    other, _ = min(others, key=lambda pair: (not is_talk(pair[1], e), abs(pair[1].entered_at - entered_at)))
    return pbx.rename(other, e.call_id) if call is None else pbx.merge(other, call, e.at)


def continues(passage: LogPassage, e: QueueLogLine, entered_at: datetime) -> bool:
    """Return whether a line is about this passage of its own call."""
    is_of_call = (passage.queue, passage.call_id) == (e.queue, e.call_id)
    return (is_of_call and passage.is_open()) or is_near(passage, e, entered_at)


def publish(pbx: Pbx, call: OpenCall, at: datetime) -> None:
    """Write the story of a call after a change, and end the call if no caller waits or talks any longer."""
    for unique_id in call.legs:
        if pbx.homes.get(unique_id) is call:
            del pbx.homes[unique_id], pbx.legs[unique_id]
    pbx.touch(call, max(at, call.updated_at))
    write_story(call)
    for unique_id, leg in call.legs.items():
        pbx.homes[unique_id], pbx.legs[unique_id] = call, leg
        pbx.claim(call, unique_id)
    if is_over(call):
        end_call(pbx, call, call.updated_at)


def reopen_log(pbx: Pbx, ended: Ended) -> OpenCall:
    """Return an ended call that only queue_log has, as an open one again."""
    pbx.withdraw_ended(ended)
    one = ended.call
    call = OpenCall(one.pbx, one.linkedid, ended.number, ended.updated_at, source=pbx.source)
    call.aliases, call.gaps = list(one.aliases), gaps_of(one)
    call.is_lost = any(gap.reason == "lost" for gap in one.gaps)
    call.others = [source for source in one.sources if source != pbx.source]
    call.user_field, call.spare_account_code = one.user_field or "", one.account_code or ""
    call.log_passages, call.log_offers = log_passages_of(ended.passages), log_offers_of(ended.agent_rings)
    write_story(call)
    pbx.put(call)
    return call


def end_all(pbx: Pbx, e: QueueLogLine) -> None:
    """End all calls: Asterisk has started."""
    for call in set_of_calls(pbx):
        if call.updated_at <= e.at:
            lose(pbx, call, e.at)


def follow_link(spaces: Spaces, e: LinkEvent) -> None:
    """End calls that a complete list of channels lacks: AMI has those of its channels.

    Lines of a file come in parts, and a snapshot may come between them. So it must be the second snapshot after the
    call's last line.
    """
    is_list = e.type == "SnapshotListed" and e.action == "CoreShowChannels" and e.epoch == spaces.ami.epoch
    if is_list and e.outcome in {"complete", "empty"} and len(spaces.snapshots) > 1:
        space = spaces.by_source["queue_log"]
        for call in set_of_calls(space):
            if call.position < spaces.snapshots[-2]:
                lose(space, call, e.at)


def lose(pbx: Pbx, call: OpenCall, at: datetime) -> None:
    """End a call of whose end the file has no line, at its own last one."""
    for passage in call.log_passages:
        if passage.is_open():
            settle(passage, call.updated_at)
    lose_call(call, at)
    publish(pbx, call, at)
