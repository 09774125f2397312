"""Fixtures of the projector's tests."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from projections import ALL
from services.projector.rebuild.rebuild import rebuild
from tests.support.database import cloned, name_of
from tests.support.note_model import NoteWriter


@pytest.fixture(scope="session")
async def rebuilt_url(postgresql_url: str, rich22_url: str) -> AsyncIterator[str]:
    """A database whose log has a recording, with all read models. Tests clone it."""
    async with cloned(postgresql_url, name_of(rich22_url)) as url:
        await rebuild(url, ALL, None, asyncio.Event())
        yield url


@pytest.fixture
def writer(connection: asyncpg.Connection) -> NoteWriter:
    return NoteWriter(connection)
