"""One chaos run: load, faults, recovery, and the three proofs at the end."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg
from msgspec import Struct, field

from projections import ALL
from services import database, log
from tests.chaos import acts, folded, wire
from tests.chaos.asker import ANSWERED, Asker
from tests.chaos.faults import schedule, struck
from tests.chaos.load import Load
from tests.chaos.reader import Reader
from tests.chaos.scene import Scene
from tests.chaos.wire import DifferenceError, Entry
from tests.e2e import truth
from tests.e2e.asterisk import Asterisk

ROUND = 30
"""After so many recoveries the load rests, and the views are held against Asterisk."""
AGREE_SECONDS = 10.0
BATCH = 20_000
SERVED = frozenset({"200", "304", "503", "no answer"})

LOG = """
SELECT position, source, name, extract(epoch FROM recorded)::float8, raw,
       CASE WHEN source = 'ringledger' AND name = 'Disconnected'
           THEN (convert_from(raw, 'UTF8')::json ->> 'heard')::float8 END
FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = 'pbx' ORDER BY position
"""

Show = Callable[[str, int, int], None]
"""What is being done, how far it is, and how far it goes."""


class Plan(Struct, frozen=True):
    """How often to strike, for ``seconds`` at most; the same seed, the same choices."""

    seed: int
    faults: int
    seconds: float


class Report(Struct):
    """What a run has done and compared; ``differences`` are of views and answers, found on the way."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    views: int = 0
    view_rows: int = 0
    tally: wire.Tally = field(default_factory=wire.Tally)
    asked: acts.Tally = field(default_factory=acts.Tally)
    fold: folded.Folded | None = None


async def run(asterisk: Asterisk, folder: Path, plan: Plan, tell: Callable[[str], None], show: Show) -> Report:
    """Strike as planned, and prove that nothing was lost. Raises DifferenceError.

    What is found in ``folder`` afterwards: the wire, what `up` said, and the data.
    """
    report = Report()
    began = time.monotonic()
    scene = Scene(asterisk, folder)
    reader = Reader(scene.ledger.client)
    asker = Asker(scene.ledger.client, random.Random(plan.seed + 2))
    load = Load(asterisk, random.Random(plan.seed + 1))
    try:
        await scene.start()
        await scene.whole()
        await load.start(reader.run(), asker.run())
        for number, act in enumerate(schedule(plan.seed, plan.faults), 1):
            if time.monotonic() - began > plan.seconds:
                break
            load.check()
            show("faults", number - 1, plan.faults)
            what = await struck(scene, act)
            report.faults[act.fault.name] += 1
            if act.rushed:
                tell(f"{number:4}  {what}; the next one follows at once")
                continue
            report.recoveries.append(await scene.whole())
            tell(f"{number:4}  {what}; whole after {report.recoveries[-1]:.1f} s")
            if len(report.recoveries) % ROUND == 0:
                await agree(scene, load, report)
                if report.differences:
                    break
                await load.start(reader.run(), asker.run())
        if not report.differences:
            await scene.whole()
            await agree(scene, load, report)
        report.calls, report.answers = load.made, reader.answers
        mark = await scene.ledger.caught_up(asterisk)
        await scene.stop()
    finally:
        await load.end()
        await scene.clear()
    for answers, served in ((reader.answers, SERVED), (asker.answers, ANSWERED)):
        if strange := answers.keys() - served:
            report.differences.append(f"the API has answered {', '.join(sorted(strange))}: {dict(answers)}")
    try:
        await prove(scene, mark, report, asker, show)
    except DifferenceError as error:
        # It is nearer to the cause than what a view shows.
        report.differences.insert(0, str(error))
    if report.differences:
        raise DifferenceError("\n".join(report.differences))
    return report


async def agree(scene: Scene, load: Load, report: Report) -> None:
    """Let the load rest, leave some calls standing, and hold the views against Asterisk's own words."""
    await load.end()
    await load.silence()
    await load.still_life()
    kinds = (*truth.ALL, *truth.CORE)
    try:
        said = await truth.agree(scene.ledger, scene.asterisk, "calls stand still", kinds, seconds=AGREE_SECONDS)
    except AssertionError as error:
        report.differences.append(str(error))
    else:
        report.views += len(said)
        report.view_rows += sum(map(len, said.values()))
    await load.silence()


async def prove(scene: Scene, mark: int, report: Report, asker: Asker, show: Show) -> None:
    """Hold log, acts and tables against wire and log, with nobody else at the database."""
    with scene.embedded.held() as url:
        connection = await database.connect(url, search_path="model, ledger")
        try:
            entries = await read(connection, show)
            wires = (wire.wire_of(link) for link in scene.tee.links if link.events == "on")
            report.tally = await asyncio.to_thread(wire.compare, wires, entries, scene.kills)
            report.asked = acts.compare(entries, asker.asked, scene.tee.hung_up)
            report.fold = await folded.compare(connection, ALL, mark, lambda n, of: show("folding", n, of))
        finally:
            await connection.close()


async def read(connection: asyncpg.Connection, show: Show) -> list[Entry]:
    """Return the PBX's log."""
    head = await log.head(connection)
    entries: list[Entry] = []
    for after in range(0, head, BATCH):
        upto = min(after + BATCH, head)
        entries += [Entry(*row) for row in await connection.fetch(LOG, after, upto)]
        show("reading", upto, head)
    return entries
