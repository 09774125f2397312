"""Recordings of real Asterisks, with their own truth beside them (see README.md there)."""

import lzma
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def wire(name: str) -> bytes:
    """The exact bytes received from AMI: ``rich22`` (22.10.1) or ``rich16`` (16.28.0)."""
    return lzma.decompress((HERE / f"{name}.rx.xz").read_bytes())


def cli(name: str) -> list[tuple[float, str, str]]:
    """What the CLI printed during a recording, as (when it was asked, seconds since the epoch; command; output)."""
    parts = (HERE / f"{name}.cli.txt").read_text().split("## ")[1:]
    asked = [part.partition("\n") for part in parts]
    return [(float(head.split()[0]), head.partition(" ")[2], output) for head, _, output in asked]
