"""Configuration files of a PBX: replace a file's text, delete an earlier version."""

import asyncio
import contextlib
from collections.abc import Container, Sequence

import asyncpg

from schemas.acts import Act
from schemas.acts.config import ConfigReplace
from schemas.configuration import ConfigurationDeleted, Section
from services.asterisk.config import secrets
from services.asterisk.config.checks import check_text
from services.asterisk.config.render import digest
from services.asterisk.config.text import ConfigTextError, ParsedText, parse
from services.commands.act import request_act
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.commands.pbx import resolve_pbx
from services.commands.targets import VISIBLE_SECONDS
from services.database import secret_store
from services.database.connection import snapshot
from services.projector.checkpoints import checkpoints
from services.runtime.errors import ActFailure, Conflict, Invalid, NotFound

MODELS = ("configurations",)
VERSION = "SELECT pbx FROM configurations WHERE ($1::text IS NULL OR pbx = $1) AND name = $2 AND file = $3 ORDER BY pbx"
TEXT = "SELECT text FROM configurations WHERE pbx = $1 AND name = $2"


async def replace_file(
    context: CommandContext,
    request: RequestContext,
    file: str,
    *,
    pbx: str | None,
    version: str,
    text: str,
    tags: Container[str] | None,
) -> Outcome:
    """Replace the whole text of a file, at the named PBX or the only one.

    ``version`` is the name under which the text is listed; only the present one, the file's own name, can be replaced.
    ``tags`` are those of `MODELS` that the client has read, None for an unconditional change.
    """
    await require_present(context, file, pbx=pbx, version=version)
    parsed = _parse(file, text)
    at = await resolve_pbx(context.pool, pbx)
    base = await _base(context, at, file, tags)
    act = ConfigReplace(file, await tokenize_secrets(context, parsed.sections), base)
    return await change_file(context, request, at, act)


async def require_present(context: CommandContext, file: str, *, pbx: str | None, version: str) -> None:
    """Raise NotFound for an unknown version of a file, Conflict for an earlier one."""
    if version != file:
        if await context.pool.fetchval(VERSION, pbx, version, file) is None:
            raise NotFound(f"not found: version {version} of {file}")
        raise Conflict("an earlier version cannot be changed")


async def delete_version(
    context: CommandContext, request: RequestContext, file: str, *, pbx: str | None, version: str
) -> Outcome:
    """Delete an earlier version of a file from the list."""
    if version == file:
        raise Conflict("only earlier versions can be deleted")

    async def decision(connection: asyncpg.Connection) -> Decision:
        at = await connection.fetchval(VERSION, pbx, version, file)
        if at is None:
            raise NotFound(f"not found: version {version} of {file}")
        return Decision([ConfigurationDeleted(file, version)], pbx=at)

    return await decide(context, request, MODELS, decision)


def _parse(file: str, text: str) -> ParsedText:
    """Return the sections of a text. Raises Invalid, which names the line."""
    try:
        parsed = parse(text)
        check_text(file, parsed)
    except ConfigTextError as error:
        raise Invalid(str(error)) from None
    return parsed


async def _base(context: CommandContext, pbx: str, file: str, tags: Container[str] | None) -> str:
    """Return the digest of the text that the client has read, empty for an unconditional change. Raises Conflict."""
    if tags is None:
        return ""
    # One moment of both: a newer text under an older tag would let the client replace what it has not read.
    async with context.pool.acquire() as connection, snapshot(connection):
        reading = await checkpoints.read(connection)
        text = await connection.fetchval(TEXT, pbx, file)
    if text is None or not ("*" in tags or reading.tag(MODELS) in tags):
        raise Conflict(f"{file} has changed since you read it")
    return digest(text)


async def tokenize_secrets(context: CommandContext, sections: Sequence[Section]) -> tuple[Section, ...]:
    """Return the sections with tokens for their secret values, which are stored outside the log."""
    tokenized, values = secrets.tokenize(sections)
    await secret_store.store(context.pool, values)
    return tuple(tokenized)


async def change_file(
    context: CommandContext, request: RequestContext, pbx: str, act: Act, location: str = ""
) -> Outcome:
    """Request an act on a file, and return when the views show the file as it is then.

    A failed act has read the file too, and may have recorded a change that was made elsewhere.
    """
    position = 0
    try:
        outcome = await request_act(context, request, pbx, act, location)
        position = outcome.position
    except ActFailure as error:
        if error.reason not in {"unreachable", "expired"}:  # These did not read the file.
            position = error.position or 0
        raise
    else:
        return outcome
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VISIBLE_SECONDS):
                await context.checkpoints.wait_folded(MODELS, position)
