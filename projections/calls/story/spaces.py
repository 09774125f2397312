"""The spaces of a PBX: the calls of each source. The richest source that has a call gives its story.

An id of a call (a linked id, an alias, the unique id of a channel) belongs to the story of one source at a time. So one
call is one row. A richer source that begins a call takes it over from poorer ones (`Pbx.claim`). A poorer source whose
event names a call of a richer one folds nothing: it calls `richer_story`, and adds what the richer one lacks.
"""

from datetime import datetime

from msgspec import Struct

from projections.calls.story.call import SOURCES, Legacy, OpenCall, by_wealth
from projections.calls.story.pbx import Pbx
from projections.calls.story.people import caller_of, is_like_caller
from projections.calls.story.row import Ended

Story = OpenCall | Ended
"""A call that lasts, or one that has ended: in this batch, or loaded for it."""


class Spaces:
    """The spaces of one PBX, the richest source first.

    The changes of an event (``dirty``, ``over``, ``empty``) are common to all of them. ``columns`` are those of the CEL
    lines that follow, ``snapshots`` the positions at which the last two snapshots began.
    """

    def __init__(self, name: str) -> None:
        self.all = tuple(Pbx(name, source) for source in SOURCES)
        self.by_source = {space.source: space for space in self.all}
        self.ami = self.all[0]
        self.columns: tuple[str, ...] = ()
        self.snapshots: list[int] = []
        for rank, space in enumerate(self.all):
            space.richer, space.poorer = self.all[:rank], self.all[rank + 1 :]
            space.dirty, space.over, space.empty = self.ami.dirty, self.ami.over, self.ami.empty

    def set(self, trunks: list[str], words: dict[str, str]) -> None:
        """Set the trunks' patterns of calls that begin from here on, and the outcomes of words in queue_log."""
        for space in self.all:
            space.trunks, space.words = trunks, words

    def has(self, one: str) -> bool:
        """Return whether an open call has an id."""
        for space in self.all:
            # Most PBXes have all calls in the space of AMI.
            if space.calls and (one in space.homes or one in space.calls or one in space.heirs):
                return True
        return False

    def of(self, call: OpenCall) -> Pbx:
        """Return the space of a call."""
        return self.by_source[call.source]


def find_story(spaces: tuple[Pbx, ...], *ids: str) -> tuple[Pbx, Story] | None:
    """Return the call that has the first of these ids that any has, and its space; of several spaces the richest.

    Ended calls are found by the ids that the machine's `missing` returns for the event.
    """
    for one in ids:
        for space in spaces if one else ():
            story = space.homes.get(one) or space.calls.get(one) or space.heirs.get(one) or space.ended.get(one)
            if story is not None:
                return space, story
    return None


def richer_story(space: Pbx, *ids: str) -> tuple[Pbx, Story] | None:
    """Return the call of a richer source that has one of an event's ids, the more certain ids first.

    An open story that this space has of the ids is that call's too, so it goes into it. None means that this space
    has the call. An agent's session is found by its channels alone, since callers have its linked id.
    """
    match = find_story(space.richer, *ids)
    if match is None:
        return None
    richer, story = match
    is_session = isinstance(story, OpenCall) and bool(story.agent)
    if is_session and ids[0] not in story.ids():
        return None
    for one in ids if space.calls and not is_session else ():
        own = space.find(one) if one else None
        if own is not None and not own.agent:
            hand_over(space, own, richer, story)
    return match


def hand_over(space: Pbx, own: OpenCall, richer: Pbx, story: Story) -> None:
    """Remove an open call of a space, because a richer source has it: its facts go there."""
    space.withdraw(own)
    give(richer, story, own.legacy())


def give(space: Pbx, story: Story, legacy: Legacy) -> None:
    """Give a story what a poorer one leaves."""
    if isinstance(story, OpenCall):
        space.inherit(story, legacy)
        return
    story.inherit(legacy)
    for one in legacy.ids:
        space.ended.setdefault(one, story)
    space.dirty[story.call.linkedid] = None


class Facts(Struct, frozen=True):
    """The facts that a poorer source has of a channel of a richer source's call."""

    source: str
    at: datetime
    unique_id: str
    user_field: str = ""
    account_code: str = ""


def add_facts(space: Pbx, story: Story, facts: Facts) -> None:
    """Add a poorer source to a story, and what the story lacks, if the channel is the caller's.

    The last user field that is not empty counts, whichever source has it.
    """
    if isinstance(story, OpenCall):
        changed = story.add_source(facts.source)
        user_field = facts.user_field or story.user_field
        account_code = facts.account_code or story.spare_account_code
        is_news = user_field != story.user_field or account_code != story.spare_account_code
        leg = story.legs.get(facts.unique_id) if is_news else None
        if leg is not None and is_like_caller(leg) and caller_of(story) is leg:
            story.user_field, story.spare_account_code = user_field, account_code
            changed = True
        if changed:
            space.dirty[story.linkedid] = None
        return
    call = story.call
    before_all = (call.sources, call.user_field, call.account_code)
    call.sources = by_wealth((*call.sources, facts.source))  # type: ignore[assignment]
    if call.caller is not None and call.caller.unique_id == facts.unique_id:
        call.user_field = facts.user_field or call.user_field
        call.account_code = call.account_code or facts.account_code or None
    if before_all != (call.sources, call.user_field, call.account_code):
        story.updated_at = facts.at
        space.dirty[call.linkedid] = None
