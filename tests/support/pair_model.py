"""A read model with a machine: pairs, whose ids become present one by one, and of which two may become one."""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from projections.engine.derived import DerivedRow, Parts, Sums
from projections.engine.machine import Memory
from projections.engine.model import Input, Key, ReadModel, Row
from schemas.ami import AmiEvent, Int, OwnEvent
from schemas.log import MAX_POSITION, Disconnected, NewEvent, RecordedEvent
from services.log.append import append_events
from services.projector.table import Table
from tests.support.folding import FoldSpec, block, own

PBXES = ("a", "b")
LOG = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded FROM ledger.event
WHERE position <= $1 ORDER BY position
"""


class PairEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    event_name: str = field(name="_name", default="")
    id: str = field(name="Id", default="")
    pair: str = field(name="Pair", default="")
    tag: str = field(name="Tag", default="")
    amount: Int = field(name="Amount", default=0)


class LossEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    reason: str = ""


class Story(Struct):
    """The working state of a pair; ``number`` is the position of its first event."""

    number: int
    ids: list[str]
    tags: list[str] = field(default_factory=list)
    amount: int = 0
    notes: list[str] = field(default_factory=list)
    ended_at: datetime | None = None


class Pair(Row):
    """A pair goes by the oldest of its ids; an open one has a story, an ended one a body."""

    pair: str
    number: int
    ended_at: datetime | None
    tags: list[str]
    amount: int
    story: dict[str, Any] | None = None
    body: dict[str, Any] | None = None


class PairId(DerivedRow):
    id: str
    pair: str


class PairTag(DerivedRow):
    tag: str
    pair: str
    number: int


class TagSum(DerivedRow):
    tag: str
    pairs: int = 0
    amount: int = 0
    numbers: list[int] = field(default_factory=list)


def story_of(row: Pair) -> Story:
    return msgspec.convert(row.story or row.body, Story)


def ids_of(row: Pair) -> Iterator[PairId]:
    return (PairId(row.pbx, one, row.pair) for one in story_of(row).ids)


def tags_of(row: Pair) -> Iterator[PairTag]:
    return (PairTag(row.pbx, tag, row.pair, row.number) for tag in row.tags)


def sums_of(row: Pair) -> Iterator[TagSum]:
    return (TagSum(row.pbx, tag, 1, row.amount, [row.number]) for tag in row.tags)


def add(total: TagSum, one: TagSum) -> TagSum:
    numbers = sorted([*total.numbers, *one.numbers])
    return replace(total, pairs=total.pairs + one.pairs, amount=total.amount + one.amount, numbers=numbers)


def subtract(total: TagSum, one: TagSum) -> TagSum:
    numbers = list(total.numbers)
    for number in one.numbers:
        numbers.remove(number)
    return replace(total, pairs=total.pairs - one.pairs, amount=total.amount - one.amount, numbers=numbers)


class PairMachine:
    def __init__(self) -> None:
        self.pairs: dict[Key, Story] = {}
        self.by_id: dict[tuple[str, str], Key] = {}
        self.factors: dict[str, int] = {}

    def open(self, rows: Iterable[Row], memory: Memory) -> None:
        self.load(rows)
        self.factors = {pbx: facts["factor"] for pbx, facts in memory.items()}

    def load(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self._put((row.pbx, row.pair), story_of(row))

    def missing(self, event: PairEvent | LossEvent) -> list[tuple[str, str]]:
        ids = () if isinstance(event, LossEvent) else (event.id, event.pair)
        return [(event.pbx, one) for one in ids if one and (event.pbx, one) not in self.by_id]

    def fold(self, event: PairEvent | LossEvent) -> list[Key]:
        if isinstance(event, LossEvent):
            lost = [k for k, one in self.pairs.items() if k[0] == event.pbx and one.ended_at is None]
            for key in lost:
                self.pairs[key].ended_at = event.at
            return lost
        if event.event_name == "PairFactor":
            self.factors[event.pbx] = event.amount
            return []
        if event.event_name == "PairBreak":
            raise ZeroDivisionError
        key, changed = self._find(event)
        story = self.pairs[key]
        before = msgspec.json.encode(story)
        if event.tag and event.tag not in story.tags:
            story.tags = sorted([*story.tags, event.tag])
        story.amount += event.amount * self.factors.get(event.pbx, 1)
        if event.event_name == "PairLate":
            story.notes = [*story.notes, event.tag]
        if event.event_name == "PairEnd" and story.ended_at is None:
            story.ended_at = event.at
        return changed if msgspec.json.encode(story) == before else [*changed, key]

    def _find(self, event: PairEvent) -> tuple[Key, list[Key]]:
        """Return the key of the event's pair, after it was made or two became one, and the changed keys."""
        ids = [one for one in dict.fromkeys((event.id, event.pair)) if one]
        present = sorted(
            {self.by_id[event.pbx, one] for one in ids if (event.pbx, one) in self.by_id},
            key=lambda key: self.pairs[key].number,
        )
        new = [one for one in ids if (event.pbx, one) not in self.by_id]
        key = present[0] if present else (event.pbx, event.pair or event.id)
        story = self.pairs[key] if present else Story(event.position, [])
        for other in present[1:]:
            younger = self.pairs.pop(other)
            new += younger.ids
            story.tags = sorted({*story.tags, *younger.tags})
            story.amount += younger.amount
            story.notes = [*story.notes, *younger.notes]
            story.ended_at = story.ended_at and younger.ended_at and max(story.ended_at, younger.ended_at)
        if new:
            story.ids = [*story.ids, *new]
            self._put(key, story)
        return key, [*([key] if new else []), *present[1:]]

    def _put(self, key: Key, story: Story) -> None:
        self.pairs[key] = story
        self.by_id.update({(key[0], one): key for one in story.ids})

    def row(self, key: Key) -> Pair | None:
        story = self.pairs.get(key)
        if story is None:
            return None
        whole = msgspec.to_builtins(story)
        open_story, body = (whole, None) if story.ended_at is None else (None, whole)
        at = datetime.fromtimestamp(0, UTC)
        return Pair(key[0], at, key[1], story.number, story.ended_at, story.tags, story.amount, open_story, body)

    def memory(self) -> Memory:
        return {pbx: {"factor": factor} for pbx, factor in self.factors.items()}

    def forget(self) -> None:
        for key in [key for key, story in self.pairs.items() if story.ended_at is not None]:
            for one in self.pairs.pop(key).ids:
                del self.by_id[key[0], one]


NAMES = ("PairBegin", "PairTag", "PairEnd", "PairLate", "PairFactor", "PairBreak")


def pairs(version: int = 1, machine: Any = PairMachine, name: str = "pairs") -> ReadModel:
    return ReadModel(
        name=name,
        version=version,
        row=Pair,
        key=("pair",),
        on={**{one: Input(PairEvent) for one in NAMES}, "Disconnected": Input(LossEvent)},
        is_state=False,
        machine=machine,
        end_column="ended_at",
        lookup="pair_ids",
        number_column="number",
        derived=(
            Parts("pair_ids", PairId, ("id", "pair"), ids_of),
            Parts("pair_tags", PairTag, ("tag", "pair"), tags_of, ("CREATE INDEX {name}_by ON {table} (tag, number)",)),
            Sums("tag_sums", TagSum, ("tag",), sums_of, add, subtract),
        ),
        indexes=("CREATE INDEX {name}_number ON {table} (number)",),
    )


PAIRS = pairs()


def pair(name: str, at: float = 1000.0, /, **headers: Any) -> NewEvent:
    return block(f"Pair{name}", at, **headers)


def random_pairs(seed: int, count: int) -> list[NewEvent]:
    """Return events of pairs that begin, join, become one, end, and change after their end."""
    dice = random.Random(seed)
    events: list[NewEvent] = []
    ids = 0
    for n in range(count):
        at = 1000.0 + n
        ids += dice.random() < 0.4
        one, other = (str(max(1, ids - dice.randrange(12))) for _ in range(2))
        kind = dice.choices(("Begin", "Tag", "End", "Late", "join", "Factor", "loss"), (40, 30, 20, 8, 12, 2, 0.5))[0]
        tag = f"t{dice.randrange(9)}"
        if kind == "join":
            events.append(pair("Tag", at, Id=one, Pair=other, Tag=tag))
        elif kind == "Factor":
            events.append(pair("Factor", at, Amount=dice.randint(1, 5)))
        elif kind == "loss":
            events.append(own(Disconnected("lost", 1.0), at))
        else:
            events.append(pair(kind, at, Id=one, Tag=tag, Amount=dice.randint(0, 3)))
    return events


async def append_pairs(connection: asyncpg.Connection, events: Sequence[NewEvent]) -> None:
    """Append events to an empty log, in turns of two PBXes."""
    done = dict.fromkeys(PBXES, 0)
    for start in range(0, len(events), 20):
        name = PBXES[start // 20 % 2]
        batch = events[start : start + 20]
        await append_events(connection, name, 1, done[name] + 1, batch)
        done[name] += len(batch)


async def served_tables(connection: asyncpg.Connection, model: ReadModel = PAIRS, schema: str = "model") -> Any:
    """Return the rows of a model's tables by key."""
    table = Table(model, schema)
    tables = {}
    for one in (table, *table.derived):
        rows = one.rows(await connection.fetch(f"SELECT {', '.join(one.columns)} FROM {one.name}"))
        tables[one.bare_name] = {one.key_of(row): row for row in rows}
    return tables


async def folded_tables(connection: asyncpg.Connection, model: ReadModel = PAIRS, until: int = MAX_POSITION) -> Any:
    """Return what a fold of the log up to a position yields, as `served_tables` does."""
    spec = FoldSpec(model).given([RecordedEvent(*row) for row in await connection.fetch(LOG, until)])
    return {model.name: spec.rows[model.name], **spec.check_derived().derived}
