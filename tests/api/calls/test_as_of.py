"""as_of of calls and statistics: before, within and after calls, the answer is that of the view served then."""

from datetime import datetime

import pytest

from tests.api.calls.conftest import LISTED, QUEUES, STEPS, Early, answer


def as_of(path: str, instant: object) -> str:
    text = instant.isoformat().replace("+00:00", "Z") if isinstance(instant, datetime) else instant
    return f"{path}{'&' if '?' in path else '?'}as_of={text}"


async def test_calls_and_figures_are_those_served_then(early: Early) -> None:
    states, counts = set(), []
    for position, answers in early.answers.items():
        for path, expected in answers.items():
            assert await answer(early.client, as_of(path, position)) == expected, (path, position)
            states.add(expected[1].get("state"))
        totals = answers[QUEUES][1]["totals"]
        counts.append((len(answers[LISTED][1]["calls"]), sum(total["received"] for total in totals)))
    assert len(counts) == STEPS > 20
    assert states >= {"ringing", "talking", "ended"}
    assert counts == sorted(counts)
    assert counts[0][0] < counts[-1][0]
    assert counts[0][1] < counts[-1][1]


async def test_a_time_selects_what_came_by_then(early: Early) -> None:
    """Only a position whose event is the last one of its time has a time of its own."""
    times = await early.ledger.connection.fetch(
        "SELECT recorded, max(position) AS position FROM ledger.event WHERE position >= $1 GROUP BY 1", early.first
    )
    compared = 0
    for at, position in [one for one in times if one[1] in early.answers][:4]:
        for path, expected in early.answers[position].items():
            assert await answer(early.client, as_of(path, at)) == expected, (path, at)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("is_by_time", [False, True])
async def test_a_call_before_within_and_after(early: Early, *, is_by_time: bool) -> None:
    (call, *_) = [
        one for one in early.answers[early.last][LISTED][1]["calls"] if one["ended_at"] and one["talk_seconds"]
    ]
    path = f"/v1/calls/{call['linkedid']}"
    connection = early.ledger.connection
    begin = await connection.fetchval("SELECT number FROM calls WHERE linkedid = $1", call["linkedid"])
    instants = [begin - 1, begin + 1, early.last]
    if is_by_time:
        instants = [
            await connection.fetchval("SELECT recorded FROM ledger.event WHERE position = $1", p) for p in instants
        ]
    before, within, after = [await answer(early.client, as_of(path, instant)) for instant in instants]
    assert before[0] == 404
    assert within[1]["ended_at"] is None
    assert after == (200, call)
