"""Those behind may hold up the foremost for a moment only, and not at all when these cannot keep up."""

from services.projector.catch_up import FIRST, LEAST, STEP_SECONDS, TURN_SECONDS, CatchUpBudget


def test_a_step_shrinks_to_what_fits_and_grows_by_doubling() -> None:
    turns = CatchUpBudget()
    assert turns.step(5000, 0.0, busy=False) == FIRST
    turns.took(FIRST, 0.0, 10 * STEP_SECONDS)
    assert turns.step(5000, 1.0, busy=False) == FIRST // 10
    turns.took(FIRST // 10, 1.0, 1.0 + STEP_SECONDS / 100)
    assert turns.step(5000, 2.0, busy=False) == FIRST // 5
    for _ in range(20):
        turns.took(turns.step(5000, 2.0, busy=False), 2.0, 2.0 + STEP_SECONDS / 4)
    assert turns.step(5000, 3.0, busy=False) == 5000
    assert turns.step(7, 3.0, busy=False) == 7


def test_a_step_that_was_cut_short_says_nothing() -> None:
    turns = CatchUpBudget()
    turns.took(1, 0.0, STEP_SECONDS / 2)
    assert turns.step(5000, 1.0, busy=False) == FIRST


def test_however_slow_a_model_is_it_gets_on() -> None:
    turns = CatchUpBudget()
    for _ in range(20):
        turns.took(turns.step(5000, 0.0, busy=False), 0.0, 60.0)
    assert turns.step(5000, 1.0, busy=False) == LEAST


def test_when_the_foremost_cannot_keep_up_the_others_have_one_turn_a_second() -> None:
    turns = CatchUpBudget()
    assert turns.step(5000, 10.0, busy=True) == FIRST
    turns.took(FIRST, 10.0, 10.04)
    assert turns.step(5000, 10.1, busy=True) == 0
    assert turns.step(5000, 10.1, busy=False) > 0
    assert turns.step(5000, 10.05 + TURN_SECONDS, busy=True) > 0
