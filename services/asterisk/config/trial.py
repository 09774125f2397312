"""Trial of changed PJSIP objects under another name, before the real ones change.

If chan_pjsip does not accept a changed object, it keeps the former one and only logs the error. So each change is first
tried on an object of another name, which is deleted afterwards.
"""

from collections.abc import Sequence

from schemas.configuration import PJSIP, Line, Section
from services.asterisk.ami.session import Session
from services.asterisk.config import files
from services.asterisk.config.reload import LISTS, names_of, reload_module
from services.asterisk.config.sections import effective_lines, name_key
from services.asterisk.config.updates import plan_updates

TYPES = ("endpoint", "aor", "auth")
"""Without registrations, which would register, and without types that AMI does not list."""
TRIAL_NAME = "ringledger-trial"

ObjectKey = tuple[str, str]
"""Type and name, by which Asterisk identifies an object."""


async def rejected_object(session: Session, present: Sequence[Section], desired: Sequence[Section]) -> str:
    """Return which object Asterisk would not change, as an error message; empty if none. The file stays as it is.

    Raises the errors of `files.write`.
    """
    trials = _trials(_objects(present), _objects(desired))
    if not trials:
        return ""
    now = await _write(session, present, [*present, *(Section(name, lines) for name, (_, lines) in trials.items())])
    await reload_module(session, "res_pjsip.so")
    types = {kind for (kind, _), _ in trials.values()}
    accepted = {kind: await names_of(session, LISTS[kind], "ObjectName") for kind in types}
    await _write(session, now, present)
    await reload_module(session, "res_pjsip.so")
    for name, ((kind, of), _) in trials.items():
        if name not in accepted[kind]:
            return f"Asterisk does not accept the changed {kind} {of}; its log has the reason"
    return ""


async def _write(session: Session, present: Sequence[Section], desired: Sequence[Section]) -> list[Section]:
    return await files.write(session, PJSIP, present, desired, plan_updates(present, desired))


def _objects(sections: Sequence[Section]) -> dict[ObjectKey, tuple[Line, ...]]:
    objects: dict[ObjectKey, tuple[Line, ...]] = {}
    for section, lines in zip(sections, effective_lines(sections), strict=True):
        kind = next((line.value for line in reversed(lines) if line.name.lower() == "type"), "")
        if not section.template and kind in TYPES:
            objects[kind, name_key(section.name)] = lines
    return objects


def _trials(
    present: dict[ObjectKey, tuple[Line, ...]], desired: dict[ObjectKey, tuple[Line, ...]]
) -> dict[str, tuple[ObjectKey, tuple[Line, ...]]]:
    """Return one object per change, by the name under which it is tried; equal changes are tried once."""
    changes: dict[tuple[str, frozenset[Line]], ObjectKey] = {}
    for key, lines in desired.items():
        if key in present and lines != present[key]:
            changes.setdefault((key[0], frozenset(lines) - frozenset(present[key])), key)
    return {f"{TRIAL_NAME}-{number}": (key, desired[key]) for number, key in enumerate(changes.values())}
