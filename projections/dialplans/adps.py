"""Commands of async dialplans."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.adps import AdpEvent, AdpmaEvent


class Adp(Row):
    """One command; ``changed`` is when somebody changed it last. ``pbx`` is empty: it is no PBX's."""

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None
    command: str | None
    tm_create: datetime
    changed: datetime | None = None


def by_uuid(e: AdpEvent) -> Key | None:
    # Only our own events have no pbx: a PBX that sends an event of this name makes no command.
    return (e.uuid,) if not e.pbx else None


def by_master(e: AdpmaEvent) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def created(row: Adp | None, e: AdpEvent) -> Adp:
    return row or Adp(
        pbx="",
        tm_update=e.at,
        uuid=e.uuid,
        dpma_uuid=e.dpma_uuid,
        sequence=e.sequence,
        name=e.name,
        detail=e.detail,
        command=e.command,
        tm_create=e.at,
    )


def changed(row: Adp | None, e: AdpEvent) -> Adp | None:
    if row is None:
        return None
    return replace(
        row,
        dpma_uuid=e.dpma_uuid,
        sequence=e.sequence,
        name=e.name,
        detail=e.detail,
        command=e.command,
        changed=e.at,
    )


def deleted(_row: Adp | None, _e: AdpEvent | AdpmaEvent) -> None:
    return None


ADPS = ReadModel(
    name="adps",
    version=1,
    row=Adp,
    key=("uuid",),
    on={
        "AdpCreated": Handler(AdpEvent, by_uuid, created),
        "AdpChanged": Handler(AdpEvent, by_uuid, changed),
        "AdpDeleted": Handler(AdpEvent, by_uuid, deleted),
        "AdpmaDeleted": Handler(AdpmaEvent, by_master, deleted, match_column="dpma_uuid"),
    },
)
