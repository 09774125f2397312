"""The rows of a statistic by name, PBX and bucket."""

import itertools
from collections.abc import Sequence

import asyncpg


def groups(rows: Sequence[asyncpg.Record]) -> list[tuple[str, str | None, int, list[asyncpg.Record]]]:
    """Return the rows by name, PBX and bucket; a total has no PBX, and the bucket 0."""
    counted = [row for row in rows if row["name"] is not None]
    return [(*key, list(group)) for key, group in itertools.groupby(counted, key=lambda row: tuple(row[:3]))]
