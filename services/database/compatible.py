"""Refuses a database that a newer Ringledger has upgraded: an older one would rebuild its read models backwards."""

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import asyncpg

from projections import ALL
from projections.engine.model import ReadModel
from services.database import faults

CONNECT_SECONDS = 3
MIGRATIONS = "SELECT name FROM ringledger_migration ORDER BY name"
VERSIONS = "SELECT model, version FROM ledger.checkpoint WHERE place = 'model'"
ADVICE = "run the newer Ringledger, or restore a backup from before its upgrade"


class NewerError(Exception):
    """The database is of a newer Ringledger; the message is one line, and names both versions."""


def migrations() -> list[tuple[str, str]]:
    """Return the names and texts of this program's migrations, in order."""
    found = (path for path in files("services.database").joinpath("migrations").iterdir() if path.name.endswith(".sql"))
    return sorted((path.name, path.read_text(encoding="utf-8")) for path in found)


def check_migrations(applied: Iterable[str]) -> None:
    """Raise NewerError if a migration was applied that came after the last one of this program."""
    last = migrations()[-1][0]
    if newer := [name for name in applied if name > last]:
        raise NewerError(f"the database has migration {max(newer)}, this program's last one is {last}: {ADVICE}")


def check_models(served: Iterable[tuple[str, int]], models: Iterable[ReadModel] = ALL) -> None:
    """Raise NewerError if a read model is served in a later version than this program's.

    One that is being built is not served yet: until then an older program may go on with the table that is.
    """
    versions = {model.name: model.version for model in models}
    newer = [f"{name} is of version {version}" for name, version in served if version > versions.get(name, version)]
    if newer:
        name = newer[0].split(" ", 1)[0]
        more = f" (and {len(newer) - 1} more)" if len(newer) > 1 else ""
        raise NewerError(f"read model {newer[0]}, this program makes version {versions[name]}{more}: {ADVICE}")


async def check(connection: asyncpg.Connection) -> None:
    """Raise NewerError if the database is of a newer Ringledger; an empty one is of none."""
    try:
        check_migrations([row["name"] for row in await connection.fetch(MIGRATIONS)])
        check_models([(row["model"], row["version"]) for row in await connection.fetch(VERSIONS)])
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        pass


async def check_at(url: str) -> None:
    """Do the same; a database that does not answer is left to whoever needs it. Raises NewerError."""
    try:
        connection: Any = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except faults.ANY:
        return
    try:
        await check(connection)
    finally:
        connection.terminate()
