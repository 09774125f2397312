"""Reads settings from a TOML file and the environment; all mistakes are named at once."""

import ipaddress
import os
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.settings import Network, Pbx, Settings

TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
VARIABLES = {
    "AMI": "the PBXes, comma separated: [name=]ami://user:secret@host:port (amis:// for TLS, ?verify=no, ?ca=FILE)",
    "AMI_COMMAND": "users that act, in place of those of RINGLEDGER_AMI: name=ami://user:secret@host:port, names alike",
    "ARI": "the same for ARI: [name=]ari://user:secret@host:port, aris:// for TLS; the name is that of its AMI",
    "DATABASE_URL": "postgresql://...; absent: a PostgreSQL of our own in RINGLEDGER_DATA",
    "DATA": "folder for what is kept on this machine (default: .ringledger)",
    "HTTP": "host:port of the API (default: 127.0.0.1:8081)",
    "ADMIN_PASSWORD": "password of the first user, admin; absent: made at the first start, and printed",
    "OPEN_VIEWS": "true lets the oldest views be read without a login (default: false)",
    "SPOOL_MB": "megabytes that a PBX's events may fill in RINGLEDGER_DATA while PostgreSQL is away (default: 1024)",
    "TRUSTED_PROXIES": "addresses and networks, comma separated, whose X-Forwarded-* headers count (default: none)",
}
NAMES = tuple(VARIABLES)
LONGEST_NAME = 200
"""PostgreSQL's indexes take 2,704 bytes, of which a name may be a part."""
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
NO_URL = "not a URL (special characters in a user or secret must be percent-encoded, as , is %2C and / is %2F)"
# Kubernetes sets these in every pod where there is a Service named ringledger.
KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?")


class SettingsError(Exception):
    """The settings cannot be used; the message names every mistake, one a line."""


def load(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Decode ``file`` (keys as the variables, lower case, without prefix) and ``RINGLEDGER_*``, which wins.

    Raises SettingsError.
    """
    wrong: list[str] = []
    values: dict[str, str] = {}
    if file is not None:
        values |= _from_file(file, wrong)
    for variable, value in environ.items():
        if variable.startswith("RINGLEDGER_"):
            name = variable.removeprefix("RINGLEDGER_")
            if name in NAMES:
                if value:  # compose files pass what is unset as empty
                    values[name] = value
            elif not KUBERNETES.fullmatch(name):
                wrong.append(f"{variable}: no such setting (known: {', '.join('RINGLEDGER_' + n for n in NAMES)})")
    host, port = _address(values.get("HTTP", "127.0.0.1:8081"), wrong)
    opened = TRUE.get(values.get("OPEN_VIEWS", "").lower())
    if opened is None:
        wrong.append("RINGLEDGER_OPEN_VIEWS: true or false")
    spool = values.get("SPOOL_MB", "1024")
    if not (spool.isascii() and spool.isdecimal() and 1 <= int(spool) <= 1 << 20):
        wrong.append("RINGLEDGER_SPOOL_MB: a whole number from 1 to 1048576")
        spool = "1"
    settings = Settings(
        ami=_pbxes("AMI", values.get("AMI", ""), "ami", 5038, wrong),
        ari=_pbxes("ARI", values.get("ARI", ""), "ari", 8088, wrong),
        ami_command=_pbxes("AMI_COMMAND", values.get("AMI_COMMAND", ""), "ami", 5038, wrong),
        database_url=values.get("DATABASE_URL", ""),
        data=Path(values.get("DATA", ".ringledger")),
        http_host=host,
        http_port=port,
        admin_password=values.get("ADMIN_PASSWORD", ""),
        open_views=bool(opened),
        spool_bytes=int(spool) << 20,
        trusted_proxies=_networks(values.get("TRUSTED_PROXIES", ""), wrong),
    )
    names = {pbx.name for pbx in settings.ami}
    wrong += [
        f"RINGLEDGER_AMI_COMMAND: RINGLEDGER_AMI has no PBX named {pbx.name}"
        for pbx in settings.ami_command
        if pbx.name not in names
    ]
    if settings.database_url:
        _database_url(settings.database_url, wrong)
    data = settings.data.absolute()
    # Nothing exists below a file either, so the nearest path that does exist must be a folder.
    nearest = next(path for path in (data, *data.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        wrong.append(f"RINGLEDGER_DATA: {nearest} is not a folder")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def _from_file(file: Path, wrong: list[str]) -> dict[str, str]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        wrong.append(f"{file}: {error}")
        return {}
    values: dict[str, str] = {}
    for key, value in table.items():
        if key.upper() not in NAMES:
            wrong.append(f"{file}: {key}: no such setting (known: {', '.join(n.lower() for n in NAMES)})")
        elif isinstance(value, list):
            values[key.upper()] = ",".join(map(str, value))
        else:
            values[key.upper()] = str(value)
    return values


def _database_url(url: str, wrong: list[str]) -> None:
    # Never repeat it: it may hold a password.
    if not url.startswith(("postgres://", "postgresql://")):
        wrong.append("RINGLEDGER_DATABASE_URL: must start with postgresql://")
        return
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = [host.rpartition(":")[2] for host in hosts if ":" in host.rpartition("]")[2]]
        fits = all(port == "" or (port.isascii() and port.isdecimal() and int(port) < 65536) for port in ports)
    except ValueError:
        fits = False
    if not fits:
        wrong.append(f"RINGLEDGER_DATABASE_URL: {NO_URL}")


def _address(text: str, wrong: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        wrong.append(f"RINGLEDGER_HTTP: {text!r} is not host:port")
        return "", 0
    return host.strip("[]"), int(port)


def _networks(text: str, wrong: list[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            wrong.append(f"RINGLEDGER_TRUSTED_PROXIES: {item!r} is no address and no network (192.0.2.1, 192.0.2.0/24)")
    return tuple(found)


def _pbxes(variable: str, text: str, scheme: str, default_port: int, wrong: list[str]) -> tuple[Pbx, ...]:
    found: dict[str, Pbx] = {}
    for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        # Never repeat the item, nor a part of it: it holds a secret.
        where = f"RINGLEDGER_{variable}: item {number}"
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "", item
        try:
            parts = urlsplit(url)
            port = parts.port or default_port
        except ValueError:
            wrong.append(f"{where}: {NO_URL}")
            continue
        if parts.scheme not in {scheme, scheme + "s"} or not (parts.hostname and parts.username and parts.password):
            wrong.append(f"{where}: not [name=]{scheme}://user:secret@host:port ({scheme}s:// for TLS)")
            continue
        options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if options.keys() - {"verify", "ca"} or options.get("verify", "yes").lower() not in TRUE:
            wrong.append(f"{where}: the options are verify=yes|no and ca=FILE")
            continue
        if options.get("ca") and not Path(options["ca"]).is_file():
            wrong.append(f"{where}: there is no file {options['ca']} (ca=)")
            continue
        pbx = Pbx(
            name=name.strip() or parts.hostname,
            host=parts.hostname,
            port=port,
            user=unquote(parts.username),
            secret=unquote(parts.password or ""),
            tls=parts.scheme == scheme + "s",
            verify=TRUE[options.get("verify", "yes").lower()],
            ca_file=options.get("ca", ""),
        )
        if len(pbx.name) > LONGEST_NAME or any(unicodedata.category(c) in UNPRINTABLE for c in pbx.name):
            wrong.append(f"{where}: a name has at most {LONGEST_NAME} characters, and no control characters")
            continue
        if pbx.name in found:
            wrong.append(f"{where}: a second PBX named {pbx.name}; give each a name=")
        found[pbx.name] = pbx
    return tuple(found.values())
