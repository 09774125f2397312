"""Any mixture of the sources gives each call once, as AMI alone gives it."""

import random
from functools import cache
from typing import Any

import pytest

from schemas.calls import Call
from tests.projections.calls.story.recorded import NAMES
from tests.projections.calls.story.sources import cut_table, events_of, facts_of, mixture, table_of
from tests.support.folding import ListSnapshot
from tests.support.spoilt_events import spoilt

POORER = ("cel", "file", "queue_log", "cdr")


@cache
def of_ami(name: str) -> dict[str, Call]:
    calls = table_of(events_of(name)["ami"]).calls(untold=True)
    return {linkedid: facts_of(call) for linkedid, call in calls.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_the_sources_gives_the_same(name: str, seed: int) -> None:
    sources = events_of(name)
    for number in range(5):
        dice = random.Random(f"{name} {seed} {number}")
        chosen = ["ami", *dice.sample(POORER, dice.randint(1, len(POORER)))]
        dice.shuffle(chosen)
        table = cut_table(mixture([sources[one] for one in chosen], dice), dice)
        calls = table.calls(untold=True)
        # The file continues after the recording, so it has calls that AMI lacks.
        assert calls.keys() == of_ami(name).keys() or "file" in chosen
        assert {linkedid: facts_of(calls[linkedid]) for linkedid in of_ami(name)} == of_ami(name)
        assert len({row.number for row in table.read()}) == len(calls)
        ended = [call for call in calls.values() if call.sources[0] == "ami" and call.state == "ended" and call.caller]
        if {"cel", "file"} & set(chosen):
            assert all("cel" in call.sources for call in ended)
        with_log = [call for call in calls.values() if "queue_log" in call.sources]
        assert len(with_log) == len(log_calls(name)) * ("queue_log" in chosen)


@cache
def log_calls(name: str) -> dict[str, Call]:
    return table_of(events_of(name)["queue_log"]).calls()


FAULTY = [("cel", "file"), ("ami", "cel", "file"), ("cel", "queue_log", "cdr"), ("ami", "queue_log", "cdr")]
"""Sources of which events are lost, doubled and late."""


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in NAMES for seed in range(4)])
def test_faults_leave_every_id_one_call(name: str, seed: int) -> None:
    """Events of each source are lost, doubled and late; two lists end whatever lasts."""
    dice = random.Random(seed)
    chosen = FAULTY[seed % len(FAULTY)]
    events = mixture([list(spoilt(events_of(name)[one], dice)) for one in chosen], dice)
    table = table_of(events)
    assert cut_table(events, dice).rows == table.rows
    table.position = len(events)
    for epoch in (99_998, 99_999):
        last = ListSnapshot("CoreShowChannels", epoch=epoch)
        table.take(last.start, last.empty, last.over)
    owners: dict[str, str] = {}
    for call in table.calls(untold=True).values():
        assert (call.state, call.outcome is None) == ("ended", False)
        for one in {call.linkedid, *call.aliases, *(leg.unique_id for leg in call.legs)}:
            assert owners.setdefault(one, call.linkedid) == call.linkedid
    assert len({row.number for row in table.read()}) == len(table.rows) > 300


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chosen", [("cel", "queue_log", "cdr"), ("queue_log", "cdr")])
def test_any_order_without_ami_gives_the_same(name: str, chosen: tuple[str, ...]) -> None:
    sources = [events_of(name)[source] for source in chosen]
    expected = {key: facts_of(call) for key, call in table_of(in_row(sources)).calls().items()}
    for number in range(5):
        dice = random.Random(f"{name} {number}")
        table = cut_table(mixture(sources, dice), dice)
        assert {key: facts_of(call) for key, call in table.calls().items()} == expected


def in_row(sources: list[list[Any]]) -> list[Any]:
    """Return the events of one source after those of the other."""
    return mixture([[event for events in sources for event in events]], random.Random(1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "chosen", [("ami", "cel"), ("cel", "ami"), ("cel", "file"), ("file", "cel", "ami"), ("cdr", "queue_log")]
)
def test_cuts_and_restarts_change_no_row(name: str, chosen: tuple[str, ...]) -> None:
    sources = events_of(name)
    dice = random.Random(f"{name} {chosen}")
    events = mixture([[event for one in chosen for event in sources[one]]], dice)
    assert cut_table(events, dice).rows == table_of(events).rows
    events = mixture([sources[one] for one in chosen], dice)
    assert cut_table(events, dice).rows == table_of(events).rows
