"""Ended rows of a model with a machine, which a fold looks up in the table by the ids of events."""

from collections.abc import Awaitable, Callable
from typing import Any

from projections.engine.machine_fold import MachineFold
from schemas.log import MAX_POSITION
from services.projector.table import Table

SERVED = "SELECT version FROM ledger.checkpoint WHERE model = $1 AND place = 'model'"

Fetch = Callable[..., Awaitable[list[Any]]]


async def load_ended(fetch: Fetch, table: Table, fold: MachineFold, before: int = MAX_POSITION) -> None:
    """Load the ended rows that have one of the fold's missing ids.

    The table may be further than the fold. Rows that began at position ``before`` or later are not loaded: for the fold
    they do not exist yet.
    """
    ids = fold.unknown_ids()
    if not ids or not table.model.lookup:
        return
    rows = table.rows(await fetch(table.select_ended, *[list(part) for part in zip(*ids, strict=True)]))
    number = table.model.number_column
    fold.load([row for row in rows if not number or getattr(row, number) < before], table.key_of)


async def is_served(fetch: Fetch, table: Table) -> bool:
    """Return whether the served table is of the model's version; while it is built, no ended row can be looked up."""
    return [row[0] for row in await fetch(SERVED, table.model.name)] == [table.model.version]
