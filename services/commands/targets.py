"""The target of an act: its row in a read model, before and after the act."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from services.commands.context import CommandContext
from services.database.errors import UNREACHABLE
from services.database.pool import Pool
from services.runtime.errors import Invalid, NotFound

VISIBLE_SECONDS = 1.0


async def fetch_one(pool: Pool, sql: str, *args: Any, kind: str, narrowed_by: str = "pbx=") -> asyncpg.Record:
    """Return the only row. Raises NotFound, and Invalid for several rows, which ``narrowed_by`` distinguishes."""
    rows = await pool.fetch(sql, *args)
    if not rows:
        raise NotFound(f"not found: {kind}")
    if len(rows) > 1:
        raise Invalid(f"{narrowed_by} is needed: several match this {kind}")
    return rows[0]


async def wait_visible(
    context: CommandContext,
    model: str,
    sql: str,
    *args: Any,
    until: Callable[[Sequence[asyncpg.Record]], bool],
) -> None:
    """Wait until the rows of a model show the effect of an act, for at most `VISIBLE_SECONDS`.

    The listener receives the PBX's event over another connection than the commander's, perhaps after the outcome. A
    client that reads the view after its act should see the effect. The act is done in any case: nothing is raised.
    """
    checkpoints = context.checkpoints
    with contextlib.suppress(TimeoutError, *UNREACHABLE):
        async with asyncio.timeout(VISIBLE_SECONDS):
            while not checkpoints.stopping:
                tag = checkpoints.reading.tag((model,))
                if until(await context.pool.fetch(sql, *args)):
                    await checkpoints.refresh()  # Cached views are served until then.
                    return
                await checkpoints.wait_changed((model,), tag, VISIBLE_SECONDS)
