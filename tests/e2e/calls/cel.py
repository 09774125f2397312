"""The calls of a run from CEL alone, compared with those of AMI in every member that both have.

`docs/architecture/calls.md` has the members that CEL lacks. Only the recordings' test compares times: on a busy machine
the two events of one moment may be seconds apart.
"""

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.calls import Call
from schemas.log import RecordedEvent
from tests.support.calls import CallTable, shaped
from tests.support.cel_comparison import equal_members, uid

SETTINGS = ("CallSettings", "CelColumns")
NEVER_NAMED = {"exit_key", "withdrawn", "full", "join_empty", "left_empty"}
"""Outcomes of passages that no line of CEL gives: the story of CEL has `unknown`."""
UNORDERED = ("parties", "roles", "rings", "legs")
"""Lists whose items begin at once where Asterisk rings several phones: its threads write their events in any order."""
WITHOUT_PASSAGE = {"cancelled", "no_answer", "pbx_only"}
TRUNK = "PJSIP/trunk"


def calls_of_cel(pbx: str, events: Iterable[RecordedEvent]) -> dict[str, Call]:
    """Return the calls of a PBX that a fold of these events gives, by linked id."""
    ordered = sorted((event for event in events if event.pbx in {pbx, ""}), key=lambda event: event.position)
    return CallTable().fold([one for event in ordered if (one := shaped(event)) is not None]).calls()


def lines_of_cel(pbx: str, text: str) -> list[RecordedEvent]:
    """Return the lines of Asterisk's file as the import appends them, after all other events."""
    lines = []
    for number, raw in enumerate(text.splitlines(keepends=True)):
        (values,) = csv.reader([raw])
        at = datetime.fromtimestamp(float(values[1]), UTC)
        lines.append(RecordedEvent((1 << 40) + number, pbx, "cel_csv", "CEL", at, raw.encode(), at))
    return lines


def ended_channels(events: Iterable[RecordedEvent]) -> set[str]:
    """Return the unique ids of the channels that CEL has ended."""
    return {one.unique_id for one in map(shaped, events) if one.event_name == "CHAN_END"}


def check_cel_calls(calls: Sequence[Call], of_cel: dict[str, Call]) -> None:
    """Fail unless CEL has these calls, and each is the same in every member that CEL can have."""
    differences = []
    for call in calls:
        other = of_cel.get(call.linkedid)
        if other is None:
            differences.append(f"{call.linkedid} is missing")
            continue
        ours, theirs = members(call, call), members(other, call)
        differences += [
            f"{call.linkedid} {name}: AMI {ours[name]}, CEL {theirs[name]}"
            for name in ours
            if ours[name] != theirs[name]
        ]
    assert not differences, "\n".join(differences)


def members(one: Call, of_ami: Call) -> dict[str, Any]:
    """Return the members of one of two stories of a call in the form in which both are equal."""
    plain = without_dialled_numbers(one, of_ami)
    is_unnamed = of_ami.outcome == "abandoned" and of_ami.hangup is not None and of_ami.hangup.by == "pbx"
    hangup = one.hangup
    equal = equal_members(plain)
    rung = [ring.to.unique_id for ring in plain.rings]
    if len(rung) > 1 and plain.destination.unique_id in rung and plain.answered_by is None:
        equal["destination"] = "a phone that rang"
    return {
        **equal,
        **{name: sorted(equal[name], key=repr) for name in UNORDERED},
        "state": one.state,
        "outcome": "no passage" if is_unnamed and one.outcome in {"abandoned", *WITHOUT_PASSAGE} else one.outcome,
        "hangup": hangup and (hangup.by, uid(hangup.party), hangup.cause),
        "queues": [
            (
                passage.queue,
                uid(passage.party),
                "unknown" if is_unnamed or passage.outcome in NEVER_NAMED else passage.outcome,
            )
            for passage in one.queues
        ],
    }


def without_dialled_numbers(call: Call, of_ami: Call) -> Call:
    """Return a call without the numbers of the trunks that it dialled.

    CEL shows a number first when the trunk is up, and the other PBX may have changed it by then.
    """
    dialled = {p.unique_id for p in of_ami.parties if p.role == "callee" and p.endpoint.startswith(TRUNK)}

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(one) for one in value]
        if not isinstance(value, dict):
            return value
        numbers = {"number": None, "name": None} if value.get("unique_id") in dialled and "endpoint" in value else {}
        return {name: strip(one) for name, one in value.items()} | numbers

    return msgspec.convert(strip(msgspec.to_builtins(call)), Call, strict=False)
