"""Masters of async dialplans."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.adps import AdpmaEvent


class Adpma(Row):
    """One master; ``changed`` is when somebody changed it last. ``pbx`` is empty: it is no PBX's."""

    uuid: str
    name: str
    detail: str | None
    tm_create: datetime
    changed: datetime | None = None


def by_uuid(e: AdpmaEvent) -> Key | None:
    # Only our own events have no pbx: a PBX that sends an event of this name makes no master.
    return (e.uuid,) if not e.pbx else None


def created(row: Adpma | None, e: AdpmaEvent) -> Adpma:
    return row or Adpma(pbx="", tm_update=e.at, uuid=e.uuid, name=e.name, detail=e.detail, tm_create=e.at)


def changed(row: Adpma | None, e: AdpmaEvent) -> Adpma | None:
    return replace(row, name=e.name, detail=e.detail, changed=e.at) if row else None


def deleted(_row: Adpma | None, _e: AdpmaEvent) -> None:
    return None


ADPMAS = ReadModel(
    name="adpmas",
    version=1,
    row=Adpma,
    key=("uuid",),
    on={
        "AdpmaCreated": Handler(AdpmaEvent, by_uuid, created),
        "AdpmaChanged": Handler(AdpmaEvent, by_uuid, changed),
        "AdpmaDeleted": Handler(AdpmaEvent, by_uuid, deleted),
    },
)
