"""Recordings of real Asterisks (see README.md there): the one that the product plays, and others for the tests."""

import lzma
from functools import cache
from pathlib import Path

import services.playback

HERE = Path(__file__).parent
PLAYED = Path(services.playback.__file__).parent / "recording"


@cache
def wire(name: str) -> bytes:
    """The exact bytes received from AMI: ``rich22`` (22.10.1) or ``rich16`` (16.28.0)."""
    file = f"{name}.rx.xz"
    return lzma.decompress((PLAYED / file if (PLAYED / file).exists() else HERE / file).read_bytes())


@cache
def truth(name: str, file: str) -> str:
    """A file of Asterisk for the time of a recording: ``Master.csv``, ``cel.csv`` (both in UTC), or ``queue_log``."""
    return lzma.decompress((HERE / f"{name}.{file}.xz").read_bytes()).decode()


def last_list(name: str) -> tuple[list[str], int]:
    """What the CLI printed last: unique ids of `core show channels concise`, and how many calls were processed."""
    text = (HERE / f"{name}.core.txt").read_text()
    ids = [line.rpartition("!")[2] for line in text.splitlines() if "!" in line]
    return ids, int(text.split(" calls processed")[0].split()[-1])


def cli(name: str) -> list[tuple[float, str, str]]:
    """What the CLI printed during a recording, as (when it was asked, seconds since the epoch; command; output)."""
    parts = (HERE / f"{name}.cli.txt").read_text().split("## ")[1:]
    asked = [part.partition("\n") for part in parts]
    return [(float(head.split()[0]), head.partition(" ")[2], output) for head, _, output in asked]
