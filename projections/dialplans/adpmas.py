"""Masters of async dialplans."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.adps import AdpmaEvent


class Adpma(Row):
    """One master; ``changed`` is the time of the last change. ``pbx`` is empty: a master belongs to no PBX."""

    uuid: str
    name: str
    detail: str | None
    tm_create: datetime
    changed: datetime | None = None


def by_uuid(e: AdpmaEvent) -> Key | None:
    # Only Ringledger's own events have no pbx: an event of this name from a PBX creates no master.
    return (e.uuid,) if not e.pbx else None


def create(row: Adpma | None, e: AdpmaEvent) -> Adpma:
    return row or Adpma(pbx="", tm_update=e.at, uuid=e.uuid, name=e.name, detail=e.detail, tm_create=e.at)


def change(row: Adpma | None, e: AdpmaEvent) -> Adpma | None:
    return replace(row, name=e.name, detail=e.detail, changed=e.at) if row else None


def delete(_row: Adpma | None, _e: AdpmaEvent) -> None:
    return None


ADPMAS = ReadModel(
    name="adpmas",
    version=1,
    row=Adpma,
    key=("uuid",),
    on={
        "AdpmaCreated": Handler(AdpmaEvent, by_uuid, create),
        "AdpmaChanged": Handler(AdpmaEvent, by_uuid, change),
        "AdpmaDeleted": Handler(AdpmaEvent, by_uuid, delete),
    },
)
