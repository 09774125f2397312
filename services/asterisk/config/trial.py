"""Whether Asterisk would take PJSIP objects as they are to be, before the real ones are changed.

When chan_pjsip does not like what an object has become, it keeps the object as it was and says so in its log only. So
each change is tried on an object of another name first, which is there for as long as that takes.
"""

from collections.abc import Sequence

from schemas.configuration import PJSIP, Line, Section
from services.asterisk.ami.session import Session
from services.asterisk.config import files
from services.asterisk.config.reload import LISTS, load, names_of
from services.asterisk.config.text import alike, effective
from services.asterisk.config.updates import plan

TRIED = ("endpoint", "aor", "auth")
"""Not registrations, which would register, nor what AMI does not list."""
NAME = "ringledger-trial"

Object = tuple[str, str]
"""Kind and name, as Asterisk tells objects apart."""


async def refused(session: Session, present: Sequence[Section], wanted: Sequence[Section]) -> str:
    """Return which object Asterisk would not change, in words; empty if none. The file is left as it is now.

    Raises what `files.write` raises.
    """
    trials = _trials(_objects(present), _objects(wanted))
    if not trials:
        return ""
    now = await _write(session, present, [*present, *(Section(name, lines) for name, (_, lines) in trials.items())])
    await load(session, "res_pjsip.so")
    there = {kind: await names_of(session, LISTS[kind], "ObjectName") for kind in {k for (k, _), _ in trials.values()}}
    await _write(session, now, present)
    await load(session, "res_pjsip.so")
    for name, ((kind, of), _) in trials.items():
        if name not in there[kind]:
            return f"Asterisk does not take the {kind} {of} as it would be; its log says why"
    return ""


async def _write(session: Session, present: Sequence[Section], wanted: Sequence[Section]) -> list[Section]:
    return await files.write(session, PJSIP, present, wanted, plan(present, wanted))


def _objects(sections: Sequence[Section]) -> dict[Object, tuple[Line, ...]]:
    found: dict[Object, tuple[Line, ...]] = {}
    for section, lines in zip(sections, effective(sections), strict=True):
        kind = next((line.value for line in reversed(lines) if line.name.lower() == "type"), "")
        if not section.template and kind in TRIED:
            found[kind, alike(section.name)] = lines
    return found


def _trials(
    present: dict[Object, tuple[Line, ...]], wanted: dict[Object, tuple[Line, ...]]
) -> dict[str, tuple[Object, tuple[Line, ...]]]:
    """Return an object for each change, by the name under which it is tried; the same change of many is tried once."""
    changes: dict[tuple[str, frozenset[Line]], Object] = {}
    for place, lines in wanted.items():
        if place in present and lines != present[place]:
            changes.setdefault((place[0], frozenset(lines) - frozenset(present[place])), place)
    return {f"{NAME}-{number}": (place, wanted[place]) for number, place in enumerate(changes.values())}
