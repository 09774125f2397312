"""Acts on trunks: their PJSIP sections and their registration (AMI PJSIPUnregister; Asterisk 16 and 22)."""

import asyncio
import time
from typing import Any

from schemas.acts.config import ConfigTrunk
from schemas.configuration import PJSIP, Line, Section
from services.asterisk.ami.actions import RefusedError, send_action
from services.asterisk.ami.pending_action import keep_headers
from services.asterisk.ami.session import Session
from services.asterisk.config import trunks
from services.asterisk.config.secrets import tokens_of
from services.asterisk.config.sections import name_key
from services.commander.actions.config import write_file
from services.commander.actions.context import ActionContext
from services.database.secret_store import consume

UNREGISTER_TIMEOUT_SECONDS = 2.0
POLL_SECONDS = 0.05


async def change_trunk(context: ActionContext, act: ConfigTrunk) -> dict[str, Any]:
    """Create, change or delete a trunk."""

    def decide(present: list[Section]) -> list[Section]:
        matches = [trunk for trunk in trunks.trunks(present) if name_key(trunk.name) == name_key(act.name)]
        try:
            if act.doing == "create":
                if any(name_key(one.name) == name_key(act.name) for one in present):
                    raise RefusedError(f"there is a section [{act.name}]", "conflict")
                return trunks.with_trunk(present, act.name, act.given)
            if not matches:
                raise RefusedError(f"there is no trunk {act.name}", "absent")
            if act.doing == "delete":
                return trunks.without_trunk(present, matches[0])
            return trunks.with_members(present, matches[0], act.given)
        except trunks.InvalidTrunkError as error:
            raise RefusedError(str(error), "invalid") from None

    values = await consume(context.fetch, tokens_of(Line(member, value) for member, value in act.given.items()))
    if act.doing != "delete":
        return await write_file(context, PJSIP, values, decide)
    registration = await _unregister(context.session, act.name)
    try:
        return await write_file(context, PJSIP, values, decide)
    except RefusedError:
        if registration:
            await send_action(context.session, "PJSIPRegister", Registration=registration)
        raise


async def _unregister(session: Session, name: str) -> str:
    """Unregister a trunk while Asterisk still has its password; return the registration's name, empty without one.

    Asterisk forgets a registration that is deleted, and the provider sends calls until it expires.
    """
    deadline = time.monotonic() + UNREGISTER_TIMEOUT_SECONDS
    registration = ""
    while time.monotonic() < deadline:
        answer = await session.request("PJSIPShowRegistrationsOutbound", "", keep_headers("ObjectName", "Status"))
        registered = [
            item.ObjectName
            for item in answer
            if item.Status == "Registered" and name_key(item.ObjectName) == name_key(name)
        ]
        if not registered:
            break
        if not registration:
            registration = str(registered[0])
            await send_action(session, "PJSIPUnregister", Registration=registration)
        await asyncio.sleep(POLL_SECONDS)
    return registration
