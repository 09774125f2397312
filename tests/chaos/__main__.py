"""``make chaos``: kill everything at random under call load, and prove that nothing was lost."""

import argparse
import asyncio
import random
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.clock import ClockError
from tests.chaos.disk import DiskError
from tests.chaos.run import Plan, Report, run
from tests.chaos.scene import place
from tests.chaos.wire import DifferenceError
from tests.e2e.asterisk import Asterisk

FAULTS = 200
FAULT_SECONDS = 7.5
"""How long a fault takes on a busy machine, recovery and the comparisons on the way included."""


def show(report: Report, console: Console) -> None:
    """Print what was done and compared."""
    table = Table(title="Compared, and equal", show_header=False)
    tally, acts, fold = report.tally, report.act_tally, report.fold
    assert fold is not None
    slowest = max(report.recoveries, default=0)
    rows = (
        ("faults", f"{report.faults.total():,}", _counted(report.faults)),
        ("recoveries", f"{len(report.recoveries):,}", f"slowest {slowest:.1f} s"),
        ("load", f"{report.calls.total():,}", _counted(report.calls)),
        ("answers of the API", f"{report.answers.total():,}", _counted(report.answers)),
        ("blocks on the wire", f"{tally.wire:,}", f"{tally.bytes:,} bytes on {tally.links} links"),
        ("blocks in the log", f"{tally.log:,}", f"equal byte for byte, secrets masked in {tally.masked:,}"),
        ("blocks in gaps", f"{tally.in_gaps:,}", f"{tally.gaps} gaps recorded"),
        ("acts", f"{acts.outcomes.total():,}", f"{acts.on_the_wire:,} sent; {_counted(acts.outcomes)}"),
        ("tables = fold", f"{len(fold.rows)}", f"{sum(fold.rows.values()):,} rows, {fold.events:,} events folded"),
        ("views = Asterisk", f"{report.views}", f"{report.view_rows:,} rows"),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counter.most_common())


async def chaos(options: argparse.Namespace, folder: Path, progress: Progress) -> Report:
    """Start Asterisk, run, and stop it."""
    asterisk = await Asterisk("22").start()
    task = progress.add_task("faults", total=options.faults)

    def bar(what: str, done: int, total: int) -> None:
        progress.update(task, description=what, completed=done, total=total)

    def tell(line: str) -> None:
        progress.console.print(line, highlight=False, soft_wrap=True)

    try:
        return await run(asterisk, folder, Plan(options.seed, options.faults, options.duration), tell, bar)
    finally:
        await asyncio.shield(asterisk.stop())


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; without a duration it follows the number of faults."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what to repeat; any without")
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"how many faults (default: {FAULTS})")
    parser.add_argument("--duration", type=float, help=f"strike no longer (seconds; {FAULT_SECONDS} a fault without)")
    options = parser.parse_args(arguments)
    if options.duration is None:
        options.duration = options.faults * FAULT_SECONDS
    if options.faults < 1 or options.duration <= 0:
        parser.error("--faults and --duration are positive")
    return options


def main() -> int:
    """Run as the options say; 0 when all is equal, 1 with all differences otherwise."""
    options = parsed(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 110)
    folder = place()
    console.print(f"seed {options.seed} (again: make chaos SEED={options.seed}), in {folder}", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            report = uvloop.run(chaos(options, folder, progress))
    except DifferenceError as error:
        sys.stderr.write(f"seed {options.seed}: {error}\nthe wire, the data and the output of `up` are in {folder}\n")
        return 1
    except (ClockError, DiskError) as error:
        shutil.rmtree(folder)
        sys.stderr.write(f"make chaos: {error}\n")
        return 1
    show(report, console)
    shutil.rmtree(folder)
    if report.faults.total() < options.faults:
        sys.stderr.write(f"time was up after {report.faults.total()} of {options.faults} faults\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
