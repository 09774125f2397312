"""`Handler.context` adds the data of earlier events to an event; `Handler.initial` makes the row of a new key."""

import random
from typing import Any

import pytest

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami import AmiEvent
from services.database.connection import connect
from tests.support.story import append, event, fold_log


class Loan(AmiEvent, frozen=True, kw_only=True):
    book: str = ""
    reader: str = ""


class Reader(Row):
    name: str
    books: list[str]


def with_reader(memory: dict[str, Any], e: Loan) -> tuple[str, Loan]:
    if e.reader:
        memory[e.book] = e.reader
        return e.reader, e
    if e.book not in memory:
        raise ValueError(f"{e.book} is not on loan")
    return memory.pop(e.book), e


def reader(loan: tuple[str, Loan]) -> Key:
    return (loan[0],)


def empty_row(key: Key, loan: tuple[str, Loan]) -> Reader:
    return Reader(loan[1].pbx, loan[1].at, key[0], [])


def borrow(row: Reader, loan: tuple[str, Loan]) -> Reader:
    return Reader(row.pbx, row.tm_update, row.name, [*row.books, loan[1].book])


def give_back(row: Reader, loan: tuple[str, Loan]) -> Reader:
    return Reader(row.pbx, row.tm_update, row.name, [book for book in row.books if book != loan[1].book])


READERS = ReadModel(
    name="readers",
    version=1,
    row=Reader,
    key=("name",),
    on={
        "Lent": Handler(Loan, reader, borrow, initial=empty_row, context=with_reader),
        "Returned": Handler(Loan, reader, give_back, context=with_reader),
    },
)


@pytest.mark.parametrize("seed", range(4))
async def test_memory_outlives_batches_and_belongs_to_one_pbx(url: str, seed: int) -> None:
    story = [
        event("Lent", {"book": "Emma", "reader": "Ann"}),
        event("Lent", {"book": "Dracula", "reader": "Ann"}),
        event("Returned", {"book": "Emma"}),
        event("Lent", {"book": "Emma", "reader": "Ben"}),
        event("Returned", {"book": "Ulysses"}),
        event("Returned", {"book": "Dracula"}),
    ]
    await append(url, story, pbx="one")
    await append(url, story[:2] + story[3:4], pbx="two")
    rows = (await fold_log(url, (READERS,), random.Random(seed)))["readers"]
    assert [(r["pbx"], r["name"], r["books"]) for r in rows] == [
        ("one", "Ann", []),
        ("one", "Ben", ["Emma"]),
        ("two", "Ann", ["Emma", "Dracula"]),
        ("two", "Ben", ["Emma"]),
    ]
    connection = await connect(url, search_path="model, ledger")
    assert [r["position"] for r in await connection.fetch("SELECT position FROM unfit")] == [5]
    await connection.close()
