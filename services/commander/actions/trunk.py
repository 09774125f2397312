"""Acts on trunks: the PJSIP sections that make one, and its registration (AMI PJSIPUnregister; Asterisk 16 and 22)."""

import asyncio
import time
from typing import Any

from schemas.acts.config import ConfigTrunk
from schemas.configuration import PJSIP, Line, Section
from services.asterisk.ami.actions import RefusedError, done
from services.asterisk.ami.question import keep_headers
from services.asterisk.ami.session import Session
from services.asterisk.config import trunks
from services.asterisk.config.secrets import tokens_of
from services.asterisk.config.text import alike
from services.commander.actions.config import written
from services.commander.actions.context import Desk
from services.database.secret_store import consume

UNREGISTERED_SECONDS = 2.0
POLL_SECONDS = 0.05


async def trunk(desk: Desk, act: ConfigTrunk) -> dict[str, Any]:
    """Make, change or remove a trunk."""

    def decide(present: list[Section]) -> list[Section]:
        found = [parts for parts in trunks.trunks(present) if alike(parts.name) == alike(act.name)]
        try:
            if act.doing == "create":
                if any(alike(one.name) == alike(act.name) for one in present):
                    raise RefusedError(f"there is a section [{act.name}]", "conflict")
                return trunks.created(present, act.name, act.given)
            if not found:
                raise RefusedError(f"there is no trunk {act.name}", "absent")
            if act.doing == "delete":
                return trunks.deleted(present, found[0])
            return trunks.updated(present, found[0], act.given)
        except trunks.NoTrunkError as error:
            raise RefusedError(str(error), "invalid") from None

    lines = [Line(member, value) for member, value in act.given.items()]
    given = await consume(desk.ask, tokens_of(lines))
    if act.doing != "delete":
        return await written(desk, PJSIP, given, decide)
    registered = await _unregister(desk.session, act.name)
    try:
        return await written(desk, PJSIP, given, decide)
    except RefusedError:
        if registered:
            await done(desk.session, "PJSIPRegister", Registration=registered)
        raise


async def _unregister(session: Session, name: str) -> str:
    """Take a trunk's registration back, which needs the password that is about to go; return its name if it was one.

    Asterisk itself forgets a registration that is deleted, and the provider goes on sending calls until it expires.
    """
    deadline = time.monotonic() + UNREGISTERED_SECONDS
    asked = ""
    while time.monotonic() < deadline:
        answer = await session.ask("PJSIPShowRegistrationsOutbound", "", keep_headers("ObjectName", "Status"))
        found = [
            item.ObjectName for item in answer if item.Status == "Registered" and alike(item.ObjectName) == alike(name)
        ]
        if not found:
            break
        if not asked:
            asked = str(found[0])
            await done(session, "PJSIPUnregister", Registration=asked)
        await asyncio.sleep(POLL_SECONDS)
    return asked
