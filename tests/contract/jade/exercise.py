"""An exercise: a valid request of one row, the members of its body, and the effect that must follow."""

from collections.abc import AsyncGenerator, Callable, Mapping
from types import ModuleType
from typing import Any, Literal

from msgspec import Struct, field

from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import Tells, World

Run = Callable[[World], AsyncGenerator[Ask, Reply]]
"""Makes what the request needs, yields the request, is sent the answer, and asserts what came of it.

It compares with ``ask.body``, in which the test may have put other values of the same kind."""

Kind = Literal["name", "option", "text", "key", "uuid", "number", "list", "map"]
"""``name``: a line of a person's, short; ``text``: as long as one likes; ``key``: a name that is looked up; ``option``:
a line of a configuration file, or several of its name in a list."""


class Member(Struct, frozen=True):
    """A member of a body. ``ours``: it is the exercise's own value, whatever an example prints (uuids, user names).

    ``free``: any text of Unicode is legal, and is shown again as it was sent.
    """

    kind: Kind
    needed: bool = False
    ours: bool = False
    free: bool = False


class Exercise(Struct, frozen=True):
    """``permission`` is what the row needs; ``unknown`` are the statuses that may tell of a detail that is not there.

    ``at_pbx``: the PBX does it. ``tells`` is what a request for a detail that is not there leaves behind: nothing, a
    request in the log that the PBX refuses, or for which it receives only requests for its state.
    ``unique``: what is made so cannot be made again. ``open_body``: any member is an option of the user's.
    """

    row: str
    run: Run
    members: Mapping[str, Member] = field(default_factory=dict)
    permission: str = "admin"
    at_pbx: bool = False
    tells: Tells = "nothing"
    unique: bool = False
    open_body: bool = False
    unknown: frozenset[int] = frozenset({404})


def exercise(row: str, **more: Any) -> Callable[[Run], Exercise]:
    """Make an exercise of the function below; ``more`` as in Exercise."""
    return lambda run: Exercise(row, run, **more)


def all_of(*modules: ModuleType) -> dict[str, Exercise]:
    """Return the exercises in these modules, each row once."""
    exercises: dict[str, Exercise] = {}
    for module in modules:
        more = [value for value in vars(module).values() if isinstance(value, Exercise)]
        more += getattr(module, "MADE", [])
        for one in more:
            assert one.row not in exercises, f"{one.row} has two exercises"
            exercises[one.row] = one
    return exercises
