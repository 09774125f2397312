"""Calls of CEL whose end is in no line: they ended in a gap of the link, or by a restart of the PBX."""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.endings import begin_gap, end_gap, end_leg, lose_call, set_of_calls
from projections.calls.story.ids import NO_TIME, age_of
from projections.calls.story.pbx import Pbx
from projections.calls.story.spaces import Spaces
from schemas.ami.cel import CelEvent
from schemas.link import LinkEvent

MOST_CALLS = 10_000
"""How many linked ids of CEL may be open: lines that end channels may be missing in a whole file."""

JITTER = 20
"""How many channels may be announced before one that was created earlier."""


def follow_link(spaces: Spaces, e: LinkEvent) -> None:
    """Note a gap in the calls that came by AMI, and end those that a complete list of channels lacks.

    A list ends a call that has had no line since the list's snapshot began. Lines of a file come in parts, and a
    snapshot may come between them. So for a call of a file it must be the second such snapshot.
    """
    space = spaces.by_source["cel"]
    if e.type == "SnapshotStarted":
        spaces.snapshots = [*spaces.snapshots[-1:], e.position]
    elif e.type in {"Disconnected", "Connected"}:
        for call in set_of_calls(space):
            if call.feed == "ami":
                (begin_gap if e.type == "Disconnected" else end_gap)(space, call, e)
    elif e.type == "SnapshotListed" and e.action == "CoreShowChannels" and e.epoch == spaces.ami.epoch:
        for call in set_of_calls(space) if e.outcome in {"complete", "empty"} else ():
            limits = spaces.snapshots[-1:] if call.feed == "ami" else spaces.snapshots[-2:-1]
            if limits and call.position < limits[0]:
                lose(space, call, e.at)


def end_before_restart(pbx: Pbx, e: CelEvent) -> None:
    """End the calls of before a restart: the counter in unique ids began again, at a later time."""
    before, now = age_of(pbx.newest), age_of(e.unique_id)
    is_comparable = pbx.newest.rpartition("-")[0] == e.unique_id.rpartition("-")[0] and now[0] < NO_TIME
    if pbx.newest and is_comparable and now[0] > before[0] and now[1] < before[1] - JITTER:
        for call in set_of_calls(pbx):
            if all(age_of(one)[0] < now[0] and age_of(one)[1] > now[1] for one in call.legs):
                lose(pbx, call, e.at)
        pbx.newest = e.unique_id
    elif now[0] < NO_TIME and (not is_comparable or not pbx.newest or now > before):
        pbx.newest = e.unique_id


def end_oldest(pbx: Pbx) -> None:
    """End a tenth of the calls, those without a line for the longest, where there are too many of them."""
    if len(pbx.calls) > MOST_CALLS:
        calls = sorted(set_of_calls(pbx), key=lambda call: (call.position, call.linkedid))
        for call in calls[: len(calls) // 10 + 1]:
            lose(pbx, call, call.updated_at)


def lose(pbx: Pbx, call: OpenCall, at: datetime) -> None:
    """End a call as of its last line."""
    lose_call(call, at)
    for leg in [leg for leg in call.legs.values() if leg.ended_at is None]:
        end_leg(pbx, call, leg, max(call.updated_at, leg.started_at))
