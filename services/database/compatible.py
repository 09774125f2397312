"""Refuses the database of a newer Ringledger: an older one would rebuild its read models backwards."""

from collections.abc import Collection, Iterable
from importlib.resources import files
from typing import Any

import asyncpg

from projections import ALL
from projections.engine.model import ReadModel
from services.database.errors import DATABASE_ERRORS

CONNECT_SECONDS = 3
SCHEMA = "0020_schema.sql"
"""The migration that replaces all earlier ones."""
OLDEST = "0012_secret.sql"
"""The last migration of commit 9b8a372, the oldest version whose databases can be upgraded."""
MIGRATIONS = "SELECT name FROM ringledger_migration ORDER BY name"
VERSIONS = "SELECT model, version FROM ledger.checkpoint WHERE place = 'model'"
ADVICE = "run the newer Ringledger, or restore a backup from before its upgrade"


class IncompatibleError(Exception):
    """The database of a newer Ringledger, or of one too old to upgrade; the message is one line with both versions."""


def migrations() -> list[tuple[str, str]]:
    """Return the names and texts of this program's numbered migrations, in order."""
    paths = files("services.database").joinpath("migrations").iterdir()
    return sorted((path.name, path.read_text(encoding="utf-8")) for path in paths if path.name[:4].isdecimal())


def check_migrations(applied: Iterable[str]) -> None:
    """Raise IncompatibleError if a migration with a higher number than this program's last one was applied."""
    last = migrations()[-1][0]
    if newer := [name for name in applied if name > last]:
        raise IncompatibleError(f"the database has migration {max(newer)}, this program's last one is {last}: {ADVICE}")


def check_age(applied: Collection[str]) -> None:
    """Raise IncompatibleError if the migrations end before `OLDEST`."""
    if applied and SCHEMA not in applied and OLDEST not in applied:
        raise IncompatibleError(
            f"the database has no migration {OLDEST}, the oldest that this program can upgrade; run"
            " `ringledger migrate` of version 0.1.0 first"
        )


def check_models(served: Iterable[tuple[str, int]], models: Iterable[ReadModel] = ALL) -> None:
    """Raise IncompatibleError if a served read model has a later version than this program's.

    A model that is being rebuilt is not served yet: an older program may continue to serve the current table.
    """
    versions = {model.name: model.version for model in models}
    newer = [f"{name} is of version {version}" for name, version in served if version > versions.get(name, version)]
    if newer:
        name = newer[0].split(" ", 1)[0]
        more = f" (and {len(newer) - 1} more)" if len(newer) > 1 else ""
        raise IncompatibleError(f"read model {newer[0]}, this program makes version {versions[name]}{more}: {ADVICE}")


async def check(connection: asyncpg.Connection) -> None:
    """Raise IncompatibleError for the database of a newer or too old Ringledger; an empty database is accepted."""
    try:
        applied = [row["name"] for row in await connection.fetch(MIGRATIONS)]
        check_migrations(applied)
        check_age(applied)
        check_models([(row["model"], row["version"]) for row in await connection.fetch(VERSIONS)])
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        pass


async def check_at(url: str) -> None:
    """Check the database at ``url``; one that does not answer is accepted. Raises IncompatibleError."""
    try:
        connection: Any = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except DATABASE_ERRORS:
        return
    try:
        await check(connection)
    finally:
        connection.terminate()
