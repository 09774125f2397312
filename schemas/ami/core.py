"""Responses and events about the PBX itself and its modules."""

from msgspec import field

from schemas.ami import AmiEvent, Float, Int, OwnEvent


class LinkBanner(OwnEvent, frozen=True, kw_only=True, gc=False):
    """Ringledger's own Connected; the banner is like ``Asterisk Call Manager/11.0.0``."""

    banner: str = field(name="banner", default="")


class CoreStatus(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Reply to CoreStatus; dates and times are the PBX's local ones."""

    response: str = field(name="Response", default="")
    startup_date: str = field(name="CoreStartupDate", default="")
    startup_time: str = field(name="CoreStartupTime", default="")
    reload_date: str = field(name="CoreReloadDate", default="")
    reload_time: str = field(name="CoreReloadTime", default="")
    current_calls: Int = field(name="CoreCurrentCalls", default=0)


class CoreSettings(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Reply to CoreSettings."""

    response: str = field(name="Response", default="")
    ami_version: str = field(name="AMIversion", default="")
    ast_version: str = field(name="AsteriskVersion", default="")
    system_name: str = field(name="SystemName", default="")
    max_calls: Int = field(name="CoreMaxCalls", default=0)
    max_load_avg: Float = field(name="CoreMaxLoadAvg", default=0.0)
    run_user: str = field(name="CoreRunUser", default="")
    run_group: str = field(name="CoreRunGroup", default="")
    max_file_handles: Int = field(name="CoreMaxFilehandles", default=0)
    real_time_enabled: str = field(name="CoreRealTimeEnabled", default="")
    cdr_enabled: str = field(name="CoreCDRenabled", default="")
    http_enabled: str = field(name="CoreHTTPenabled", default="")


class ModulesShown(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Reply to Command ``module show``: ``output`` is the table that the CLI prints, with one module per line."""

    response: str = field(name="Response", default="")
    action_id: str = field(name="ActionID", default="")
    output: str = field(name="Output", default="")


class ModuleChecked(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Reply to ModuleCheck; the module is the last part of the ActionID, because the reply does not name it."""

    response: str = field(name="Response", default="")
    action_id: str = field(name="ActionID", default="")
    message: str = field(name="Message", default="")


class ModuleEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Load and Unload; ``status`` is Success or the reason of the failure."""

    module: str = field(name="Module", default="")
    status: str = field(name="Status", default="")
