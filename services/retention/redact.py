"""``ringledger redact``: replaces a person's number or name by a token, in the log and in the read models."""

import os
import pwd

import asyncpg

from services.database.connection import connect
from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.database.locks import Lock, try_lock
from services.log.archives import archived_copies, last_archived
from services.retention.redact_log import LogRedactor
from services.retention.redact_models import ModelRedactor, UnfinishedError
from services.retention.redact_pattern import RedactionPattern
from services.retention.redact_report import Redaction

MAX_ROUNDS = 2
"""How often the end of the log is searched again, for newly appended events."""


class RedactError(Exception):
    """The redaction is impossible, and nothing was changed; the message gives the reason."""


def actor() -> str:
    """Return the name of the operating system's user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def redact(
    url: str, pattern: RedactionPattern, token: str, reason: str = "", *, dry_run: bool = False
) -> Redaction:
    """Redact, also while a listener and a projector run. A second run after a crash does the rest.

    Each chunk of events is committed together with the event that describes it and with the marks of the models that
    have folded it. The models are rebuilt afterwards; until then their old rows are served. Raises RedactError and
    UnfinishedError.
    """
    if pattern.occurs_in(reason.encode()):
        raise RedactError("--reason contains the text to redact, and would be stored")
    try:
        connection = await connect(url, search_path="model, ledger")
    except UNREACHABLE as error:
        raise UnfinishedError(explain(error)) from None
    try:
        if not await try_lock(connection, Lock.RETENTION):
            raise RedactError("another redaction or an archive is running")
        redaction = Redaction(token)
        redaction.archived = await archived_copies(connection)
        if dry_run:
            await _search(connection, pattern, redaction)
        else:
            await _redact(url, connection, LogRedactor(connection, pattern, redaction, reason, actor()), pattern)
    except NO_LEDGER:
        raise RedactError(NO_LEDGER_MESSAGE) from None
    except UNREACHABLE as error:
        raise UnfinishedError(f"{explain(error)}; that does the rest") from None
    else:
        return redaction
    finally:
        await connection.close()


async def _search(connection: asyncpg.Connection, pattern: RedactionPattern, redaction: Redaction) -> None:
    start = await last_archived(connection)
    await LogRedactor(connection, pattern, redaction, "", "", dry_run=True).run(start)
    redaction.models = await ModelRedactor(connection, pattern, redaction.token).affected_models()


async def _redact(url: str, connection: asyncpg.Connection, log: LogRedactor, pattern: RedactionPattern) -> None:
    redaction = log.redaction
    models = ModelRedactor(connection, pattern, redaction.token)
    position = await last_archived(connection)
    for _ in range(MAX_ROUNDS):
        position = await log.run(position)
        stale = await models.stale_models() or await models.affected_models()
        if not stale:
            break
        await models.rebuild(url, stale)
        redaction.models = sorted({*redaction.models, *stale})
    else:
        if affected := await models.affected_models():
            raise UnfinishedError(f"new events contain the text, and so do {', '.join(affected)}; run this again later")
    if redaction.models or redaction.events:
        # An earlier run that died may have changed events, and its partitions are unknown.
        events = sorted(log.partitions) or ["ledger.event"]
        await models.vacuum([*events, *(name.replace("event", "batch") for name in events)])
