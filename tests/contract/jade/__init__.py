"""Every row of operations.tsv of the jade dialect, with a real request and the effect that must follow."""

from tests.contract.jade import (
    accounts,
    acts,
    asynchronous,
    configurations,
    dialplans,
    entries,
    managers,
    me,
    people,
    reads,
    rights,
    trunks,
)
from tests.contract.jade.exercise import Exercise, all_of

EXERCISES: dict[str, Exercise] = all_of(
    accounts, acts, asynchronous, configurations, dialplans, entries, managers, me, people, reads, rights, trunks
)
