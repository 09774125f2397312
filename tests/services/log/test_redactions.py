"""The redactions that the log records, and contradictory ones."""

import msgspec
import pytest

from schemas.log import Redacted
from services.log.redactions import RedactionError, collect

A, B, C = (letter * 32 for letter in (b"a", b"b", b"c"))
AT = 1_795_308_983_000_000


def redaction(
    position: int, *changes: tuple[int, bytes, bytes], token: str = "t", reason: str = ""
) -> tuple[object, ...]:
    event = Redacted(position, "number", token, reason, "root", tuple((p, a.hex(), b.hex()) for p, a, b in changes))
    return position, "pbx", AT + position * 60_000_000, msgspec.json.encode(event)


def test_changes_lead_from_sealed_to_present_leaf() -> None:
    redactions = collect(
        [
            redaction(10, (1, A, B), (2, B, A)),
            redaction(11, (1, B, C), token="u", reason="why"),
            redaction(12, (3, A, C)),
        ]
    )
    assert redactions.leaves == {1: (A, C), 2: (B, A), 3: (A, C)}
    assert [s.line() for s in redactions.summaries] == [
        "t: a number in 3 events, 2026-11-22 01:06 to 2026-11-22 01:08 UTC, by root",
        "u: a number in 1 events, 2026-11-22 01:07 UTC, by root: why",
    ]


def test_a_redaction_of_another_log_is_ignored() -> None:
    position, *rest = redaction(10, (10, A, b"short"))
    assert collect([(11, *rest)]).summaries == []
    with pytest.raises(RedactionError):
        collect([(position, *rest)])


def test_a_log_without_redactions_has_none() -> None:
    assert collect([]).leaves == {}


@pytest.mark.parametrize(
    ("events", "position", "why"),
    [
        ([redaction(10, (1, A, B)), redaction(11, (1, A, C))], 11, "contradicts the previous redaction of 1"),
        ([redaction(10, (10, A, B))], 10, "changes 10, which is not before it"),
        ([redaction(10, (0, A, B))], 10, "changes 0, which is not before it"),
        ([redaction(10, (1, A, b"short"))], 10, "has a malformed leaf"),
        ([(10, "pbx", AT, b'{"type":"Redacted","position":10}')], 10, "is malformed"),
        ([(10, "pbx", AT, b"\xff")], 10, "is malformed"),
    ],
)
def test_an_impossible_redaction_is_named(events: list[tuple[object, ...]], position: int, why: str) -> None:
    with pytest.raises(RedactionError, match=rf"^event {position} \(Redacted\) {why}$") as error:
        collect(events)
    assert error.value.position == position
