"""The PBXs themselves, as in `core show settings`. One row per PBX; ``id`` is its name in Ringledger's settings."""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.core import CoreSettings, CoreStatus, LinkBanner


class System(Row):
    """One PBX; dates and times are Asterisk's own text, in the PBX's zone."""

    id: str
    system_name: str = ""
    ami_version: str = ""
    ast_version: str = ""
    cdr_enabled: str = ""
    http_enabled: str = ""
    current_calls: int = 0
    max_calls: int = 0
    max_file_handles: int = 0
    max_load_avg: float = 0.0
    real_time_enabled: str = ""
    reload_date: str = ""
    reload_time: str = ""
    run_group: str = ""
    run_user: str = ""
    startup_date: str = ""
    startup_time: str = ""


def by_pbx(e: Any) -> Key:
    return (e.pbx,)


def by_success(e: CoreStatus | CoreSettings) -> Key | None:
    return (e.pbx,) if e.response == "Success" else None


def row_of(row: System | None, e: Any) -> System:
    return row or System(pbx=e.pbx, tm_update=e.at, id=e.pbx)


def apply_banner(row: System | None, e: LinkBanner) -> System:
    """Create the row even if the AMI user may not read the settings; the banner holds the AMI version."""
    return replace(row_of(row, e), ami_version=e.banner.partition("/")[2].strip() or row_of(row, e).ami_version)


def apply_status(row: System | None, e: CoreStatus) -> System:
    return replace(
        row_of(row, e),
        startup_date=e.startup_date,
        startup_time=e.startup_time,
        reload_date=e.reload_date,
        reload_time=e.reload_time,
        current_calls=e.current_calls,
    )


def apply_settings(row: System | None, e: CoreSettings) -> System:
    return replace(
        row_of(row, e),
        system_name=e.system_name,
        ami_version=e.ami_version,
        ast_version=e.ast_version,
        cdr_enabled=e.cdr_enabled,
        http_enabled=e.http_enabled,
        max_calls=e.max_calls,
        max_file_handles=e.max_file_handles,
        max_load_avg=e.max_load_avg,
        real_time_enabled=e.real_time_enabled,
        run_group=e.run_group,
        run_user=e.run_user,
    )


SYSTEMS = ReadModel(
    name="systems",
    version=1,
    row=System,
    key=("id",),
    on={
        "Connected": Handler(LinkBanner, by_pbx, apply_banner),
        "Response:CoreStatus": Handler(CoreStatus, by_success, apply_status),
        "Response:CoreSettings": Handler(CoreSettings, by_success, apply_settings),
    },
)
