"""Reads settings from a TOML file and the environment; all mistakes are named at once."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.settings import Pbx, Settings

TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
VARIABLES = {
    "AMI": "the PBXes, comma separated: [name=]ami://user:secret@host:port (amis:// for TLS, ?verify=no, ?ca=FILE)",
    "ARI": "the same for ARI: [name=]ari://user:secret@host:port, aris:// for TLS; the name is that of its AMI",
    "DATABASE_URL": "postgresql://...; absent: a PostgreSQL of our own in RINGLEDGER_DATA",
    "DATA": "folder for what is kept on this machine (default: .ringledger)",
    "HTTP": "host:port of the API (default: 127.0.0.1:8081)",
    "ADMIN_PASSWORD": "password of the first user, admin; absent: made at the first start, and printed",
    "OPEN_VIEWS": "true lets the oldest views be read without a login (default: false)",
}
NAMES = tuple(VARIABLES)


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
                values[name] = value
            else:
                wrong.append(f"{variable}: no such setting (known: {', '.join('RINGLEDGER_' + n for n in NAMES)})")
    host, port = _address(values.get("HTTP", "127.0.0.1:8081"), wrong)
    opened = TRUE.get(values.get("OPEN_VIEWS", "").lower())
    if opened is None:
        wrong.append("RINGLEDGER_OPEN_VIEWS: true or false")
    settings = Settings(
        ami=_pbxes("AMI", values.get("AMI", ""), "ami", 5038, wrong),
        ari=_pbxes("ARI", values.get("ARI", ""), "ari", 8088, wrong),
        database_url=values.get("DATABASE_URL", ""),
        data=Path(values.get("DATA", ".ringledger")),
        http_host=host,
        http_port=port,
        admin_password=values.get("ADMIN_PASSWORD", ""),
        open_views=bool(opened),
    )
    if settings.database_url and not settings.database_url.startswith(("postgres://", "postgresql://")):
        wrong.append("RINGLEDGER_DATABASE_URL: must start with postgresql://")
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


def _address(text: str, wrong: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65536:
        wrong.append(f"RINGLEDGER_HTTP: {text!r} is not host:port")
        return "", 0
    return host.strip("[]"), int(port)


def _pbxes(variable: str, text: str, scheme: str, default_port: int, wrong: list[str]) -> tuple[Pbx, ...]:
    found: dict[str, Pbx] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        # Never repeat the item: it holds a secret.
        where = f"RINGLEDGER_{variable}: item {len(found) + 1}"
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "", item
        try:
            parts = urlsplit(url)
            port = parts.port or default_port
        except ValueError:
            wrong.append(f"{where}: not a URL (a secret with special characters must be percent-encoded)")
            continue
        if parts.scheme not in {scheme, scheme + "s"} or not parts.hostname or not parts.username:
            wrong.append(f"{where}: not [name=]{scheme}://user:secret@host:port ({scheme}s:// for TLS)")
            continue
        options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        unknown = sorted(options.keys() - {"verify", "ca"})
        if unknown or options.get("verify", "yes").lower() not in TRUE:
            wrong.append(f"{where}: options are verify=yes|no and ca=FILE, not {', '.join(unknown) or 'this verify'}")
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
        if pbx.name in found:
            wrong.append(f"{where}: a second PBX named {pbx.name}; give each a name=")
        found[pbx.name] = pbx
    return tuple(found.values())
