"""Async dialplans: masters (adpma) and their commands (adp). `services/commander/async_agi` runs them.

A deleted master takes its commands with it; a run that has started continues.
"""

import uuid
from typing import Any

import asyncpg
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from schemas.adps import AdpChanged, AdpCreated, AdpDeleted, AdpmaChanged, AdpmaCreated, AdpmaDeleted
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.runtime.errors import Conflict, Invalid, NotFound

MODELS = ("adpmas", "adps")
MAX_COMMAND_BYTES = 990
"""The limit of one AMI line: above 1,023 bytes with the header's name, Asterisk 16 and 22 do not see an action."""

MASTER = "SELECT name, detail FROM adpmas WHERE pbx = '' AND uuid = $1"
COMMAND = "SELECT dpma_uuid, sequence, name, detail, command FROM adps WHERE pbx = '' AND uuid = $1"
SEQUENCE_TAKEN = "SELECT true FROM adps WHERE pbx = '' AND dpma_uuid = $1 AND sequence = $2 AND uuid <> $3"


class MasterChange(Struct, frozen=True):
    """Changes of a master; UNSET leaves a value."""

    name: str | UnsetType = UNSET
    detail: str | UnsetType | None = UNSET


class NewCommand(Struct, frozen=True):
    """A command to create."""

    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None = None
    command: str | None = None


class CommandChange(Struct, frozen=True):
    """Changes of a command; UNSET leaves a value."""

    dpma_uuid: str | UnsetType = UNSET
    sequence: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    detail: str | UnsetType | None = UNSET
    command: str | UnsetType | None = UNSET


async def create_master(
    context: CommandContext, request: RequestContext, name: str, detail: str | None, collection: str
) -> Outcome:
    """Create a master, located below the path ``collection``."""
    created = AdpmaCreated(str(uuid.uuid4()), name, detail)

    async def decision(_connection: asyncpg.Connection) -> Decision:
        return Decision([created], location=f"{collection}/{created.uuid}")

    return await decide(context, request, MODELS, decision)


async def change_master(
    context: CommandContext, request: RequestContext, master_uuid: str, change: MasterChange
) -> Outcome:
    """Change a master."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        before = await _require_master(connection, master_uuid)
        after = _merge(before, change)
        return Decision([AdpmaChanged(master_uuid, **after)] if after != before else [])

    return await decide(context, request, MODELS, decision)


async def delete_master(context: CommandContext, request: RequestContext, master_uuid: str) -> Outcome:
    """Delete a master and its commands."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        await _require_master(connection, master_uuid)
        return Decision([AdpmaDeleted(master_uuid)])

    return await decide(context, request, MODELS, decision)


async def create_command(context: CommandContext, request: RequestContext, new: NewCommand, collection: str) -> Outcome:
    """Create a command, located below the path ``collection``."""
    _require_one_line(new.command)
    created = AdpCreated(str(uuid.uuid4()), **asdict(new))

    async def decision(connection: asyncpg.Connection) -> Decision:
        await _require_place(connection, created)
        return Decision([created], location=f"{collection}/{created.uuid}")

    return await decide(context, request, MODELS, decision)


async def change_command(
    context: CommandContext, request: RequestContext, command_uuid: str, change: CommandChange
) -> Outcome:
    """Change a command, or move it to another master or sequence."""
    _require_one_line(change.command)

    async def decision(connection: asyncpg.Connection) -> Decision:
        before = await _require_command(connection, command_uuid)
        after = _merge(before, change)
        changed = AdpChanged(command_uuid, **after)
        await _require_place(connection, changed)
        return Decision([changed] if after != before else [])

    return await decide(context, request, MODELS, decision)


async def delete_command(context: CommandContext, request: RequestContext, command_uuid: str) -> Outcome:
    """Delete a command."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        await _require_command(connection, command_uuid)
        return Decision([AdpDeleted(command_uuid)])

    return await decide(context, request, MODELS, decision)


async def _require_master(connection: asyncpg.Connection, master_uuid: str) -> dict[str, Any]:
    row = await connection.fetchrow(MASTER, master_uuid)
    if row is None:
        raise NotFound(f"not found: adpma {master_uuid}")
    return dict(row)


async def _require_command(connection: asyncpg.Connection, command_uuid: str) -> dict[str, Any]:
    row = await connection.fetchrow(COMMAND, command_uuid)
    if row is None:
        raise NotFound(f"not found: adp {command_uuid}")
    return dict(row)


def _merge(before: dict[str, Any], change: Struct) -> dict[str, Any]:
    return before | {name: value for name, value in asdict(change).items() if value is not UNSET}


def _require_one_line(command: str | UnsetType | None) -> None:
    if isinstance(command, str):
        if "\r" in command or "\n" in command:
            raise Invalid("CR and LF cannot be part of a command")
        if len(command.encode()) > MAX_COMMAND_BYTES:
            raise Invalid(f"a command has at most {MAX_COMMAND_BYTES} bytes of UTF-8")


async def _require_place(connection: asyncpg.Connection, command: AdpCreated | AdpChanged) -> None:
    await _require_master(connection, command.dpma_uuid)
    if await connection.fetchval(SEQUENCE_TAKEN, command.dpma_uuid, command.sequence, command.uuid):
        raise Conflict(f"another adp of this adpma has sequence {command.sequence}")
