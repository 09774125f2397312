"""Commands of async dialplans."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.adps import AdpEvent, AdpmaEvent


class Adp(Row):
    """One command; ``changed`` is the time of the last change. ``pbx`` is empty: a command belongs to no PBX."""

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None
    command: str | None
    tm_create: datetime
    changed: datetime | None = None


def by_uuid(e: AdpEvent) -> Key | None:
    # Only Ringledger's own events have no pbx: an event of this name from a PBX creates no command.
    return (e.uuid,) if not e.pbx else None


def by_master(e: AdpmaEvent) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def create(row: Adp | None, e: AdpEvent) -> Adp:
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


def change(row: Adp | None, e: AdpEvent) -> Adp | None:
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


def delete(_row: Adp | None, _e: AdpEvent | AdpmaEvent) -> None:
    return None


ADPS = ReadModel(
    name="adps",
    version=1,
    row=Adp,
    key=("uuid",),
    on={
        "AdpCreated": Handler(AdpEvent, by_uuid, create),
        "AdpChanged": Handler(AdpEvent, by_uuid, change),
        "AdpDeleted": Handler(AdpEvent, by_uuid, delete),
        "AdpmaDeleted": Handler(AdpmaEvent, by_master, delete, match_column="dpma_uuid"),
    },
)
