"""Projectors for tests that fold a log step by step."""

import asyncpg

from projections.engine.model import ReadModel
from services.projector.projector import Projector


async def open_projector(connection: asyncpg.Connection, *models: ReadModel) -> Projector:
    projector = Projector(connection, models)
    await projector.open()
    return projector


async def finish(projector: Projector, limit: int = 5000) -> None:
    """Advance in steps of at most ``limit`` events to the end of the log."""
    while await projector.advance(limit):
        pass
