"""Every row, at every form of its path, has the documented response and effect."""

import pytest

from tests.contract import misfits, operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import FORMS, ROWS, answered, form_id, put_to
from tests.contract.jade.documented import shape
from tests.contract.jade.exercise import Exercise
from tests.contract.jade.wire import Reply
from tests.contract.jade.world import World


def test_rows_and_exercises_correspond() -> None:
    assert len(ROWS) == 126
    assert set(EXERCISES) == set(ROWS)


@pytest.mark.parametrize(("row", "form"), FORMS, ids=form_id)
async def test_each_operation_does_as_documented(world: World, row: str, form: str) -> None:
    reply = await answered(world, row, form)
    response, optional = shape(row)
    assert misfits(reply.body, response, optional) == []
    assert set(reply.body) == set(response), "no more around the result than is documented"


WRITES = [row for row in ROWS if operations()[row].method != "GET"]


@pytest.mark.parametrize("row", WRITES)
async def test_each_exercise_asserts_its_effect(world: World, row: str) -> None:
    """An exercise whose request was never sent must notice."""
    with pytest.raises((AssertionError, KeyError, ValueError)):
        await unsent(world, EXERCISES[row])


async def unsent(world: World, exercise: Exercise) -> None:
    async with put_to(world, exercise) as (_, finished):
        await finished(Reply(200, {}, {"api_ver": "0.1", "statuscode": 200, "timestamp": "", "result": {}}))
