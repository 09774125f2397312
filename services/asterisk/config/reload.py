"""Has Asterisk take a file that was written, and sees what it took: its reloads succeed whatever stands in the file."""

from collections.abc import Iterable, Sequence

from panoramisk.message import Message

from schemas.configuration import DIALPLAN, PARKING, PJSIP, QUEUES, Section
from services.asterisk.ami.actions import done
from services.asterisk.ami.question import keep_headers
from services.asterisk.ami.session import Session
from services.asterisk.config.checks import NO_CONTEXTS
from services.asterisk.config.text import alike, effective

MODULES = {
    DIALPLAN: ("pbx_config.so",),
    PARKING: ("res_parking.so",),
    PJSIP: ("res_pjsip.so", "res_pjsip_endpoint_identifier_ip.so", "res_pjsip_outbound_registration.so"),
    QUEUES: ("app_queue.so",),
}
LISTS = {
    "endpoint": "PJSIPShowEndpoints",
    "aor": "PJSIPShowAors",
    "auth": "PJSIPShowAuths",
    "registration": "PJSIPShowRegistrationsOutbound",
}
"""Kinds of PJSIP sections of which AMI tells which objects there are."""


async def reload(session: Session, file: str) -> None:
    """Have the modules of a file read it. Raises RefusedError."""
    for module in MODULES[file]:
        await load(session, module)


async def load(session: Session, module: str) -> None:
    """Have one module read its files. Raises RefusedError."""
    await done(session, "Reload", Module=module)


async def refused(session: Session, file: str, changed: Sequence[Section], wanted: Sequence[Section]) -> str:
    """Return what Asterisk has not taken of the changed sections, in words; empty if all is there."""
    words = await _missing(session, file, changed, wanted)
    return f"Asterisk has read {file}, but {words}" if words else ""


async def _missing(session: Session, file: str, changed: Sequence[Section], wanted: Sequence[Section]) -> str:
    changed = [section for section in changed if not section.template]
    if file == PJSIP:
        return await _objects(session, changed, wanted)
    for name in dict.fromkeys(section.name for section in changed if alike(section.name) not in NO_CONTEXTS):
        if file == DIALPLAN:
            words = await _context(session, name, [one for one in changed if one.name == name])
        elif file == QUEUES:
            found = await names_of(session, "QueueStatus", "Queue", Queue=name)
            words = "" if name in found else f"there is no queue {name}"
        else:
            words = "" if name in await names_of(session, "Parkinglots", "Name") else f"there is no parking lot {name}"
        if words:
            return words
    return ""


async def _context(session: Session, name: str, sections: Iterable[Section]) -> str:
    lines = [line for section in sections for line in section.lines if line.name.lower() in {"exten", "same"}]
    items = await _items(session, "ShowDialPlan", "Priority", "Registrar", Context=name)
    taken = [item for item in items if item.get("Priority") and item.get("Registrar") == "pbx_config"]
    if len(taken) < len(lines):
        return f"{len(taken)} of the {len(lines)} priorities of context {name} are there"
    return ""


async def _objects(session: Session, changed: Sequence[Section], wanted: Sequence[Section]) -> str:
    new = frozenset(changed)
    kinds: dict[str, list[str]] = {}
    for section, lines in zip(wanted, effective(wanted), strict=True):
        if section in new:
            said = {line.name.lower(): line.value for line in lines}
            kinds.setdefault(said.get("type", ""), []).append(section.name)
    for kind, names in kinds.items():
        if kind in LISTS:
            there = await names_of(session, LISTS[kind], "ObjectName")
            for name in names:
                if name not in there:
                    return f"there is no {kind} {name}"
    return ""


async def names_of(session: Session, action: str, header: str, **headers: str) -> set[str]:
    """Return what the items of a list say in a header."""
    return {str(item[header]) for item in await _items(session, action, header, **headers) if header in item}


async def _items(session: Session, action: str, *kept: str, **headers: str) -> list[Message]:
    """Return these headers of a list's items; Asterisk refuses to list what is not there."""
    answer = await session.ask(action, "", keep_headers(*kept), **headers)
    return answer[1:] if answer[0].success else []
