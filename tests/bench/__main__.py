"""``make bench [PART=name,...]``: measure, and print each figure with its target."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Never

import uvloop
from rich.console import Console

from tests.bench.parts import LONG, PARTS, SIZES
from tests.bench.report import Figure, show
from tests.bench.stage import Stage, stage

LIMIT_SECONDS = 590


def machine() -> str:
    """Say what it ran on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "an unknown processor",
    )
    return f"{os.cpu_count()} cores of {cpu}, Python {sys.version.split()[0]}"


async def measure(stage: Stage, parts: list[str], options: argparse.Namespace) -> list[Figure]:
    """Run the parts one after the other."""
    console = Console(stderr=True)
    figures: list[Figure] = []
    for part in parts:
        start, others = time.monotonic(), stage.others_cpu()
        with console.status(f"{part} ..."):
            total = options.rate * options.seconds if part == "load" else options.events
            size = {"count": options.rows or SIZES[part] // (1 if options.parts else 10)} if part in SIZES else {}
            figures += await PARTS[part](stage, total, options.rate, **size)
        seconds = time.monotonic() - start
        busy = (stage.others_cpu() - others) / seconds / (os.cpu_count() or 1)
        console.print(f"{part}: {seconds:.0f} s; {busy:.0%} of the machine was busy with something else")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"which parts ({', '.join(PARTS)}); all without")
    parser.add_argument("--events", type=int, default=400_000, help="events to ingest and to rebuild from")
    parser.add_argument("--rate", type=int, default=36_000, help="events a second of the loaded PBX")
    parser.add_argument("--seconds", type=int, default=30, help="how long the loaded PBX speaks")
    parser.add_argument(
        "--rows", type=int, help=f"rows of the parts {', '.join(SIZES)}; a tenth of theirs without parts"
    )
    options = parser.parse_args()
    parts = [part for text in options.parts for part in text.split(",")] or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    def end(*_: Any) -> Never:
        raise SystemExit("bench: stopped by a signal or the time limit")

    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(max([LIMIT_SECONDS, *[LONG.get(part, 0) for part in parts if options.parts]]))
    with stage() as ready:
        figures = uvloop.run(measure(ready, parts, options))
    show(figures, machine())


if __name__ == "__main__":
    main()
