"""Secret values on their way from a request to the PBX: in a table beside the log, for as long as that takes.

The table is unlogged: neither PostgreSQL's write-ahead log nor a replica nor an export has it. A value leaves it when
the commander takes it, or after a minute. So nothing keeps the secrets of earlier versions: who writes one back gives
them anew, or gets the present ones.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence

import asyncpg
from msgspec.structs import replace

from schemas.configuration import MASK, Line, Section
from services.configuration.text import alike

SECRET = re.compile("pass|secret|md5|cred|challenge|token|hash|^key$", re.IGNORECASE)
FLAGS = frozenset({"moh_passthrough", "mohpassthrough"})

KEEP = "INSERT INTO ledger.secret (id, value) SELECT * FROM unnest($1::text[], $2::text[])"
SWEEP = "DELETE FROM ledger.secret WHERE made < now() - interval '1 minute'"
TAKE = "DELETE FROM ledger.secret WHERE id = ANY($1) RETURNING id, value"


class NoSecretError(Exception):
    """There is no value for a secret line."""


def secret(name: str) -> bool:
    """Tell whether the value of an option of this name must not be shown."""
    return SECRET.search(name) is not None and name.lower() not in FLAGS


def masked(sections: Sequence[Section]) -> list[Section]:
    """Return the sections without their secret values; an empty value is none."""
    return [_with(section, lambda line: line.value and MASK) for section in sections]


def cut(sections: Sequence[Section]) -> tuple[list[Section], dict[str, str]]:
    """Return the sections with a token for each secret value that is given, and the values by token."""
    values: dict[str, str] = {}

    def token(line: Line) -> str:
        if line.value in {"", MASK}:
            return line.value
        values[made := str(uuid.uuid4())] = line.value
        return made

    return [_with(section, token) for section in sections], values


def _with(section: Section, value: Callable[[Line], str]) -> Section:
    return replace(section, lines=tuple(Line(n.name, value(n)) if secret(n.name) else n for n in section.lines))


async def keep(connection: asyncpg.Connection | asyncpg.Pool, values: Mapping[str, str]) -> None:
    """Keep values for the commander to take."""
    await connection.execute(SWEEP)
    if values:
        await connection.execute(KEEP, list(values), list(values.values()))


async def take(connection: asyncpg.Connection, sections: Sequence[Section]) -> dict[str, str]:
    """Return the values that the tokens in these sections stand for; they are kept no longer."""
    tokens = [line.value for section in sections for line in section.lines if secret(line.name)]
    return dict(await connection.fetch(TAKE, tokens))


def restored(wanted: Sequence[Section], present: Sequence[Section], given: Mapping[str, str]) -> list[Section]:
    """Return the wanted sections with all secret values: those given by token, and for `MASK` those of the present.

    The present value is that of the option of this name, the first for the first, in the sections of this name.
    Raises NoSecretError.
    """
    values: dict[tuple[str, str], list[str]] = {}
    for section in present:
        for line in section.lines:
            values.setdefault((alike(section.name), line.name.lower()), []).append(line.value)
    met: dict[tuple[str, str], int] = {}
    made = []
    for section in wanted:
        lines = []
        for line in section.lines:
            if secret(line.name) and line.value:
                place = alike(section.name), line.name.lower()
                nth = met[place] = met.get(place, -1) + 1
                lines.append(Line(line.name, _value(section, line, values.get(place, [])[nth : nth + 1], given)))
            else:
                lines.append(line)
        made.append(replace(section, lines=tuple(lines)))
    return made


def _value(section: Section, line: Line, present: Sequence[str], given: Mapping[str, str]) -> str:
    if line.value != MASK:
        if line.value not in given:
            raise NoSecretError(f"[{section.name}] {line.name}: the value that was given is kept no longer")
        return given[line.value]
    if not present:
        raise NoSecretError(f"[{section.name}] {line.name}: there is no present value to keep; give one")
    return present[0]
