"""Fixtures of the projector's tests."""

import asyncpg
import pytest

from tests.support.note_model import NoteWriter


@pytest.fixture
def writer(connection: asyncpg.Connection) -> NoteWriter:
    return NoteWriter(connection)
