"""Settings as one frozen Struct; how they are read is in ``services.runtime.settings``."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from msgspec import Struct, field

from schemas.call_settings import CallSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Pbx(Struct, frozen=True):
    """One PBX: ``name`` is its key in the log and in every row."""

    name: str
    host: str
    port: int
    user: str
    secret: str
    tls: bool = False
    verify: bool = True
    ca_file: str = ""

    def __repr__(self) -> str:
        """Keep the secret out of tracebacks and logs."""
        return f"Pbx({self.name!r}, {self.user}@{self.host}:{self.port})"


class Settings(Struct, frozen=True):
    """The settings of a Ringledger process; users in ``ami_command`` carry out acts instead of those in ``ami``."""

    ami: tuple[Pbx, ...] = ()
    ari: tuple[Pbx, ...] = ()
    ami_command: tuple[Pbx, ...] = ()
    database_url: str = ""
    data: Path = Path(".ringledger")
    http_host: str = "127.0.0.1"
    http_port: int = 8081
    admin_password: str = ""
    open_views: bool = False
    spool_bytes: int = 1 << 30
    trusted_proxies: tuple[Network, ...] = ()
    calls: CallSettings = field(default_factory=CallSettings)
