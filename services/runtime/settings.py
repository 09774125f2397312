"""Reads settings from a TOML file and the environment, and reports all errors together."""

import ipaddress
import os
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.call_settings import CallSettings, parse_queue_events, parse_trunks
from schemas.settings import Network, Pbx, Settings

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
VARIABLES = {
    "AMI": "PBXes, comma separated: [name=]ami://user:secret@host:port (amis:// for TLS, ?verify=no, ?ca=FILE)",
    "AMI_COMMAND": "users for acts, if not those of RINGLEDGER_AMI: name=ami://user:secret@host:port, with its names",
    "ARI": "the same for ARI: [name=]ari://user:secret@host:port, aris:// for TLS; names as in RINGLEDGER_AMI",
    "DATABASE_URL": "postgresql://... (default: Ringledger's own PostgreSQL in RINGLEDGER_DATA)",
    "DATA": "data directory on this machine (default: .ringledger)",
    "HTTP": "host:port of the API (default: 127.0.0.1:8081)",
    "ADMIN_PASSWORD": "password of the first user, admin (default: generated at the first start, and printed)",
    "OPEN_VIEWS": "true opens the oldest views to clients without a login (default: false)",
    "TRUNKS": "endpoints of providers, comma separated patterns (PJSIP/provider*): calls over them are not internal",
    "QUEUE_EVENTS": "outcomes of a dialplan's own words in queue_log, beside the usual ones: NIGHT=closed,VIP=full",
    "SPOOL_MB": "megabytes for a PBX's events in RINGLEDGER_DATA while PostgreSQL is down (default: 1024)",
    "TRUSTED_PROXIES": "addresses and networks, comma separated, whose X-Forwarded-* headers count (default: none)",
}
NAMES = tuple(VARIABLES)
MAX_NAME_LENGTH = 200
"""An entry of a PostgreSQL index has at most 2,704 bytes, and a name is a part of it."""
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
NO_URL = "not a URL (special characters in a user or secret must be percent-encoded, as , is %2C and / is %2F)"
# Kubernetes sets these in every pod of a namespace with a Service named ringledger.
KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?")


class SettingsError(Exception):
    """The settings are invalid; the message has one line for each error."""


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Decode ``file`` (keys are the variables, lower case, without prefix) and ``RINGLEDGER_*``, which has priority.

    Raises SettingsError.
    """
    errors: list[str] = []
    values: dict[str, str] = {}
    if file is not None:
        values |= _from_file(file, errors)
    for variable, value in environ.items():
        if variable.startswith("RINGLEDGER_"):
            name = variable.removeprefix("RINGLEDGER_")
            if name in NAMES:
                if value:  # compose files pass unset variables as empty
                    values[name] = value
            elif not KUBERNETES.fullmatch(name):
                errors.append(f"{variable}: unknown setting (known: {', '.join('RINGLEDGER_' + n for n in NAMES)})")
    host, port = _address(values.get("HTTP", "127.0.0.1:8081"), errors)
    opened = BOOLEANS.get(values.get("OPEN_VIEWS", "").lower())
    if opened is None:
        errors.append("RINGLEDGER_OPEN_VIEWS: true or false")
    spool = values.get("SPOOL_MB", "1024")
    if not (spool.isascii() and spool.isdecimal() and 1 <= int(spool) <= 1 << 20):
        errors.append("RINGLEDGER_SPOOL_MB: a whole number from 1 to 1048576")
        spool = "1"
    settings = Settings(
        ami=_pbxes("AMI", values.get("AMI", ""), "ami", 5038, errors),
        ari=_pbxes("ARI", values.get("ARI", ""), "ari", 8088, errors),
        ami_command=_pbxes("AMI_COMMAND", values.get("AMI_COMMAND", ""), "ami", 5038, errors),
        database_url=values.get("DATABASE_URL", ""),
        data=Path(values.get("DATA", ".ringledger")),
        http_host=host,
        http_port=port,
        admin_password=values.get("ADMIN_PASSWORD", ""),
        open_views=bool(opened),
        spool_bytes=int(spool) << 20,
        trusted_proxies=_networks(values.get("TRUSTED_PROXIES", ""), errors),
        calls=_calls(values, errors),
    )
    names = {pbx.name for pbx in settings.ami}
    errors += [
        f"RINGLEDGER_AMI_COMMAND: RINGLEDGER_AMI has no PBX named {pbx.name}"
        for pbx in settings.ami_command
        if pbx.name not in names
    ]
    if settings.database_url:
        _database_url(settings.database_url, errors)
    data = settings.data.absolute()
    # The nearest existing path must be a folder, because nothing can exist below a file.
    nearest = next(path for path in (data, *data.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        errors.append(f"RINGLEDGER_DATA: {nearest} is not a folder")
    if errors:
        raise SettingsError("\n".join(errors))
    return settings


def _from_file(file: Path, errors: list[str]) -> dict[str, str]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        errors.append(f"{file}: {error}")
        return {}
    values: dict[str, str] = {}
    for key, value in table.items():
        if key.upper() not in NAMES:
            errors.append(f"{file}: {key}: unknown setting (known: {', '.join(n.lower() for n in NAMES)})")
        elif isinstance(value, list):
            values[key.upper()] = ",".join(map(str, value))
        else:
            values[key.upper()] = str(value)
    return values


def _database_url(url: str, errors: list[str]) -> None:
    # The message must not repeat the URL, which may hold a password.
    if not url.startswith(("postgres://", "postgresql://")):
        errors.append("RINGLEDGER_DATABASE_URL: must start with postgresql://")
        return
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = [host.rpartition(":")[2] for host in hosts if ":" in host.rpartition("]")[2]]
        fits = all(port == "" or (port.isascii() and port.isdecimal() and int(port) < 65536) for port in ports)
    except ValueError:
        fits = False
    if not fits:
        errors.append(f"RINGLEDGER_DATABASE_URL: {NO_URL}")


def _address(text: str, errors: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        errors.append(f"RINGLEDGER_HTTP: {text!r} is not host:port")
        return "", 0
    return host.strip("[]"), int(port)


def _networks(text: str, errors: list[str]) -> tuple[Network, ...]:
    networks: list[Network] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            errors.append(f"RINGLEDGER_TRUSTED_PROXIES: {item!r} is not an address or network (192.0.2.0/24)")
    return tuple(networks)


def _calls(values: Mapping[str, str], errors: list[str]) -> CallSettings:
    in_trunks: list[str] = []
    in_events: list[str] = []
    trunks = parse_trunks(values.get("TRUNKS", ""), in_trunks)
    queue_events = parse_queue_events(values.get("QUEUE_EVENTS", ""), in_events)
    errors += [*(f"RINGLEDGER_TRUNKS: {e}" for e in in_trunks), *(f"RINGLEDGER_QUEUE_EVENTS: {e}" for e in in_events)]
    return CallSettings(trunks, queue_events)


def _pbxes(variable: str, text: str, scheme: str, default_port: int, errors: list[str]) -> tuple[Pbx, ...]:
    pbxes: dict[str, Pbx] = {}
    for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        # The message must not repeat any part of the item, which holds a secret.
        where = f"RINGLEDGER_{variable}: item {number}"
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "", item
        try:
            parts = urlsplit(url)
            port = parts.port or default_port
        except ValueError:
            errors.append(f"{where}: {NO_URL}")
            continue
        if parts.scheme not in {scheme, scheme + "s"} or not (parts.hostname and parts.username and parts.password):
            errors.append(f"{where}: not [name=]{scheme}://user:secret@host:port ({scheme}s:// for TLS)")
            continue
        options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if options.keys() - {"verify", "ca"} or options.get("verify", "yes").lower() not in BOOLEANS:
            errors.append(f"{where}: the options are verify=yes|no and ca=FILE")
            continue
        if options.get("ca") and not Path(options["ca"]).is_file():
            errors.append(f"{where}: file not found: {options['ca']} (ca=)")
            continue
        pbx = Pbx(
            name=name.strip() or parts.hostname,
            host=parts.hostname,
            port=port,
            user=unquote(parts.username),
            secret=unquote(parts.password or ""),
            tls=parts.scheme == scheme + "s",
            verify=BOOLEANS[options.get("verify", "yes").lower()],
            ca_file=options.get("ca", ""),
        )
        if len(pbx.name) > MAX_NAME_LENGTH or any(unicodedata.category(c) in UNPRINTABLE for c in pbx.name):
            errors.append(f"{where}: a name has at most {MAX_NAME_LENGTH} characters, and no control characters")
            continue
        if pbx.name in pbxes:
            errors.append(f"{where}: a second PBX has the name {pbx.name}; give each one its own name=")
        pbxes[pbx.name] = pbx
    return tuple(pbxes.values())
