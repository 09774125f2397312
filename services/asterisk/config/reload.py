"""Reload a written file, and check which objects Asterisk created: its reload succeeds whatever the file contains."""

from collections.abc import Iterable, Sequence

from panoramisk.message import Message

from schemas.configuration import DIALPLAN, PARKING, PJSIP, QUEUES, Section
from services.asterisk.ami.actions import send_action
from services.asterisk.ami.pending_action import keep_headers
from services.asterisk.ami.session import Session
from services.asterisk.config.checks import FILE_SETTINGS
from services.asterisk.config.sections import effective_lines, name_key

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
"""Types of PJSIP sections whose objects AMI lists."""


async def reload(session: Session, file: str) -> None:
    """Reload the modules that read a file. Raises RefusedError."""
    for module in MODULES[file]:
        await reload_module(session, module)


async def reload_module(session: Session, module: str) -> None:
    """Reload one module. Raises RefusedError."""
    await send_action(session, "Reload", Module=module)


async def missing_objects(session: Session, file: str, changed: Sequence[Section], desired: Sequence[Section]) -> str:
    """Return which of the changed sections Asterisk did not accept, as an error message; empty if it has all."""
    missing = await _missing(session, file, changed, desired)
    return f"Asterisk has read {file}, but {missing}" if missing else ""


async def _missing(session: Session, file: str, changed: Sequence[Section], desired: Sequence[Section]) -> str:
    changed = [section for section in changed if not section.template]
    if file == PJSIP:
        return await _missing_pjsip(session, changed, desired)
    for name in dict.fromkeys(section.name for section in changed if name_key(section.name) not in FILE_SETTINGS):
        if file == DIALPLAN:
            missing = await _missing_priorities(session, name, [one for one in changed if one.name == name])
        elif file == QUEUES:
            queues = await names_of(session, "QueueStatus", "Queue", Queue=name)
            missing = "" if name in queues else f"there is no queue {name}"
        else:
            lots = await names_of(session, "Parkinglots", "Name")
            missing = "" if name in lots else f"there is no parking lot {name}"
        if missing:
            return missing
    return ""


async def _missing_priorities(session: Session, context: str, sections: Iterable[Section]) -> str:
    lines = [line for section in sections for line in section.lines if line.name.lower() in {"exten", "same"}]
    items = await _items(session, "ShowDialPlan", "Priority", "Registrar", Context=context)
    loaded = [item for item in items if item.get("Priority") and item.get("Registrar") == "pbx_config"]
    if len(loaded) < len(lines):
        return f"context {context} has {len(loaded)} of its {len(lines)} priorities"
    return ""


async def _missing_pjsip(session: Session, changed: Sequence[Section], desired: Sequence[Section]) -> str:
    new = frozenset(changed)
    names_by_type: dict[str, list[str]] = {}
    for section, lines in zip(desired, effective_lines(desired), strict=True):
        if section in new:
            options = {line.name.lower(): line.value for line in lines}
            names_by_type.setdefault(options.get("type", ""), []).append(section.name)
    for kind, names in names_by_type.items():
        if kind in LISTS:
            present = await names_of(session, LISTS[kind], "ObjectName")
            for name in names:
                if name not in present:
                    return f"there is no {kind} {name}"
    return ""


async def names_of(session: Session, action: str, header: str, **headers: str) -> set[str]:
    """Return the values of one header in the items of a list."""
    return {str(item[header]) for item in await _items(session, action, header, **headers) if header in item}


async def _items(session: Session, action: str, *names: str, **headers: str) -> list[Message]:
    """Return a list's items with only these headers; Asterisk refuses to list an object that does not exist."""
    answer = await session.request(action, "", keep_headers(*names), **headers)
    return answer[1:] if answer[0].success else []
