"""Models that are behind delay the foremost only briefly, and once a second while it cannot keep up."""

from services.projector.catch_up import FIRST_EVENTS, MIN_EVENTS, TARGET_SECONDS, TURN_SECONDS, CatchUpBudget


def test_a_step_shrinks_at_once_and_grows_gradually() -> None:
    budget = CatchUpBudget()
    assert budget.step(5000, 0.0, busy=False) == FIRST_EVENTS
    budget.record(FIRST_EVENTS, 0.0, 10 * TARGET_SECONDS)
    assert budget.step(5000, 1.0, busy=False) == FIRST_EVENTS // 10
    budget.record(FIRST_EVENTS // 10, 1.0, 1.0 + TARGET_SECONDS / 100)
    assert budget.step(5000, 2.0, busy=False) == FIRST_EVENTS // 5
    for _ in range(20):
        budget.record(budget.step(5000, 2.0, busy=False), 2.0, 2.0 + TARGET_SECONDS / 4)
    assert budget.step(5000, 3.0, busy=False) == 5000
    assert budget.step(7, 3.0, busy=False) == 7


def test_a_short_step_leaves_the_budget_unchanged() -> None:
    budget = CatchUpBudget()
    budget.record(1, 0.0, TARGET_SECONDS / 2)
    assert budget.step(5000, 1.0, busy=False) == FIRST_EVENTS


def test_a_slow_model_still_advances() -> None:
    budget = CatchUpBudget()
    for _ in range(20):
        budget.record(budget.step(5000, 0.0, busy=False), 0.0, 60.0)
    assert budget.step(5000, 1.0, busy=False) == MIN_EVENTS


def test_models_behind_get_rare_turns_under_load() -> None:
    budget = CatchUpBudget()
    assert budget.step(5000, 10.0, busy=True) == FIRST_EVENTS
    budget.record(FIRST_EVENTS, 10.0, 10.04)
    assert budget.step(5000, 10.1, busy=True) == 0
    assert budget.step(5000, 10.1, busy=False) > 0
    assert budget.step(5000, 10.05 + TURN_SECONDS, busy=True) > 0
