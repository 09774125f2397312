"""Recordings of real Asterisks, with their own truth beside them (see README.md there)."""

import lzma
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def wire(name: str) -> bytes:
    """The exact bytes received from AMI: ``rich22`` (22.10.1) or ``rich16`` (16.28.0)."""
    return lzma.decompress((HERE / f"{name}.rx.xz").read_bytes())


@cache
def truth(name: str, file: str) -> str:
    """What Asterisk itself wrote while ``name`` was recorded: ``Master.csv`` (times in UTC) or ``queue_log``."""
    return lzma.decompress((HERE / f"{name}.{file}.xz").read_bytes()).decode()
