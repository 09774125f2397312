"""One chaos run: load, faults, recovery, and the three proofs at the end."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct, field
from msgspec.structs import replace

from projections import ALL
from services.database.connection import connect
from services.log.read import head_position
from tests.chaos import acts, folded, wire
from tests.chaos.asker import ANSWERED, Asker
from tests.chaos.clock import Eras
from tests.chaos.faults import schedule, struck
from tests.chaos.load import Load
from tests.chaos.reader import Reader
from tests.chaos.scene import AWAY, Scene
from tests.chaos.wire import DifferenceError, Entry
from tests.e2e import truth
from tests.e2e.asterisk import Asterisk

ROUND = 30
"""After this number of recoveries the load rests, and the views are compared with Asterisk."""
AGREE_SECONDS = 10.0
SLOW_SECONDS = 20.0
"""The run prints what a longer recovery waited for; a silent link alone takes this long."""
BATCH = 20_000
SERVED = frozenset({"200", "304", "503", "no answer"})

LOG = """
SELECT position, source, name, extract(epoch FROM recorded)::float8, raw,
       CASE WHEN source = 'ringledger' AND name = 'Disconnected'
           THEN (convert_from(raw, 'UTF8')::json ->> 'heard')::float8 END
FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = 'pbx' ORDER BY position
"""

PATH, KEY, MEMBERS = truth.SYSTEMS.view or ("", (), "")
SYSTEM = replace(truth.SYSTEMS, ours=f"{truth.SYSTEMS.ours} WHERE pbx = 'pbx'", view=(f"{PATH}?pbx=pbx", KEY, MEMBERS))
"""Without the hostile PBX, which has one too."""

Show = Callable[[str, int, int], None]
"""Shows the current step, its progress, and its end."""


class Plan(Struct, frozen=True):
    """How often to strike, for ``seconds`` at most; the same seed, the same choices."""

    seed: int
    faults: int
    seconds: float


class Report(Struct):
    """The faults and comparisons of a run; ``differences`` are those of views and responses during the run."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    views: int = 0
    view_rows: int = 0
    tally: wire.Tally = field(default_factory=wire.Tally)
    act_tally: acts.Tally = field(default_factory=acts.Tally)
    fold: folded.Folded | None = None


async def run(asterisk: Asterisk, folder: Path, plan: Plan, tell: Callable[[str], None], show: Show) -> Report:
    """Strike as planned, and prove that nothing was lost. Raises DifferenceError that names all that was found.

    Afterwards ``folder`` has the wire, the output of `up`, and the data.
    """
    report = Report()
    scene = Scene(asterisk, folder)
    reader = Reader(scene.ledger.client)
    asker = Asker(scene.ledger.client, random.Random(plan.seed + 2))
    load = Load(asterisk, random.Random(plan.seed + 1))
    mark = 0
    try:
        await scene.start()
        await scene.whole()
        try:
            await strike(scene, load, plan, report, more=lambda: (reader.run(), asker.run()), tell=tell, show=show)
            await scene.acts_end()
            mark = await scene.ledger.caught_up(asterisk)
        except (DifferenceError, *AWAY) as error:
            # Striking further is of no use; what is there by now is compared.
            report.differences.append(str(error) or repr(error))
        report.calls, report.answers = load.made, reader.answers
        await load.end()
        try:
            await scene.stop()
        except DifferenceError as error:
            report.differences.append(str(error))
    finally:
        await load.end()
        await scene.clear()
    for answers, served in ((reader.answers, SERVED), (asker.answers, ANSWERED)):
        if strange := answers.keys() - served:
            report.differences.append(f"the API has answered {', '.join(sorted(strange))}: {dict(answers)}")
    report.differences += scene.broken
    # Log and tables are nearer to the cause than a view.
    report.differences[:0] = await prove(scene, mark, report, asker, show)
    wire.raise_all(report.differences)
    return report


async def strike(
    scene: Scene,
    load: Load,
    plan: Plan,
    report: Report,
    *,
    more: Callable[[], Iterable[Coroutine[Any, Any, None]]],
    tell: Callable[[str], None],
    show: Show,
) -> None:
    """Strike as planned, and hold the views against Asterisk now and then and at the end.

    ``more`` runs while there is load. Differences of views are noted; raises DifferenceError when all is not whole
    again.
    """
    began = time.monotonic()
    await load.start(*more())
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
        last = f" ({scene.obstacle[:300]})" if report.recoveries[-1] > SLOW_SECONDS else ""
        tell(f"{number:4}  {what}; whole after {report.recoveries[-1]:.1f} s{last}")
        if len(report.recoveries) % ROUND == 0:
            await agree(scene, load, report, f"after fault {number}")
            await load.start(*more())
    await scene.whole()
    await agree(scene, load, report, "at the end")


async def agree(scene: Scene, load: Load, report: Report, when: str) -> None:
    """Let the load rest, leave some calls standing, and hold the views against Asterisk's own words."""
    await load.end()
    await load.silence()
    await load.still_life()
    kinds = (*truth.ALL, truth.MODULES, truth.PEERS, SYSTEM)
    try:
        views = await truth.agree(scene.ledger, scene.asterisk, "calls stand still", kinds, seconds=AGREE_SECONDS)
    except AssertionError as error:
        report.differences.append(f"{when}: {error}")
    else:
        report.views += len(views)
        report.view_rows += sum(map(len, views.values()))
    await load.silence()


async def prove(scene: Scene, mark: int, report: Report, asker: Asker, show: Show) -> list[str]:
    """Hold log, acts and tables against wire and log, with no other client of the database; return all differences."""
    differences = []
    with scene.embedded.running() as url:
        connection = await connect(url, search_path="model, ledger")
        try:
            entries = await read(connection, scene.clock.eras, show)
            wires = (wire.wire_of(link) for link in scene.tee.links if link.events == "on")
            try:
                report.tally = await asyncio.to_thread(wire.compare, wires, entries, scene.kills, scene.losses)
            except DifferenceError as error:
                differences.append(str(error))
            try:
                has_lost = bool(scene.losses)
                report.act_tally = acts.compare(entries, asker.responses, scene.tee.hung_up, has_lost=has_lost)
            except DifferenceError as error:
                differences.append(str(error))
            try:
                report.fold = await folded.compare(connection, ALL, mark, lambda n, of: show("folding", n, of))
            except DifferenceError as error:
                differences.append(str(error))
        finally:
            await connection.close()
    return differences


async def read(connection: asyncpg.Connection, eras: Eras, show: Show) -> list[Entry]:
    """Return the PBX's log, with true times."""
    head = await head_position(connection)
    entries: list[Entry] = []
    for after in range(0, head, BATCH):
        upto = min(after + BATCH, head)
        for position, source, name, recorded, raw, received_until in await connection.fetch(LOG, after, upto):
            times = eras.true(recorded), None if received_until is None else eras.true(received_until)
            entries.append(Entry(position, source, name, times[0], raw, times[1]))
        show("reading", upto, head)
    return entries
