"""A rehearsal of UpdateConfig in another file, before Asterisk writes the real one (main/config.c, Asterisk 16 and 22).

Asterisk reads ``[name](+)``, but never writes it. The section may be in another file than the lines that it adds. Then
Asterisk writes these lines below the last section of their own file. GetConfig does not show that.
"""

from collections.abc import Sequence

from schemas.configuration import Section
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.session import Session
from services.asterisk.config import files
from services.asterisk.config.sections import name_key
from services.asterisk.config.updates import UnwritableError

REHEARSAL = "ringledger-rehearsal.conf"
"""The copy of the file; AMI cannot delete it, so it is emptied: it had the file's passwords."""
EMPTY = "ringledger-empty.conf"


async def rehearse(session: Session, file: str, present: Sequence[Section]) -> None:
    """Verify that Asterisk writes all lines of a file back into their sections. Asterisk also writes included files.

    Raises UnwritableError with the file unchanged; DamagedError if an included file has changed; RefusedError.
    """
    files.require_writable(present)
    for name in (EMPTY, REHEARSAL):
        if await _read(session, name) is None:
            await files.create(session, name)
    await files.save(session, file, REHEARSAL)
    try:
        copy = await _read(session, REHEARSAL)
    finally:
        await files.save(session, EMPTY, REHEARSAL)
    if copy is not None and files.is_same(copy, present):
        return
    if not files.is_same(await files.read(session, file) or [], present):
        raise files.DamagedError(f"Asterisk has written lines of an included file of {file} into another section")
    raise UnwritableError(
        f"{file} has lines of {_moved(copy or [], present)} in another file than its section: write them into the"
        " section, without (+)"
    )


async def _read(session: Session, file: str) -> list[Section] | None:
    """Return a file's sections, none if Asterisk cannot parse it, None if it does not exist."""
    try:
        return await files.read(session, file)
    except RefusedError:
        return []


def _moved(copy: Sequence[Section], present: Sequence[Section]) -> str:
    """Name the section that has lost lines."""
    for name in dict.fromkeys(name_key(section.name) for section in present):
        groups = [[one for one in sections if name_key(one.name) == name] for sections in (present, copy)]
        before, after = [sum(len(one.lines) for one in group) for group in groups]
        if before > after:
            return f"[{groups[0][0].name}]"
    return "a section"
