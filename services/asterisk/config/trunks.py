"""Trunks: what a PJSIP registration, its auth, aor, identify and endpoint say together.

Members: ``name``, ``server_uri``, ``client_uri``, ``username``, ``password``, ``contact``, ``context``, ``hostname``,
``match``; ``hostname`` is the host of ``server_uri``.
"""

import re
from collections.abc import Mapping, Sequence

from schemas.configuration import Line, Section
from services.asterisk.config.text import alike, effective, with_option

MEMBERS = ("server_uri", "client_uri", "username", "password", "contact", "context", "hostname", "match")
KINDS = ("registration", "auth", "aor", "identify", "endpoint")
HOST = re.compile(r"sips?:(?:[^@]*@)?(\[[^\]]*\]|[^:;>]+)")
PLACES = {
    "server_uri": ("registration", "server_uri"),
    "client_uri": ("registration", "client_uri"),
    "username": ("auth", "username"),
    "password": ("auth", "password"),
    "contact": ("aor", "contact"),
    "context": ("endpoint", "context"),
    "match": ("identify", "match"),
}
"""Where a member stands: kind of section, option."""


class NoTrunkError(Exception):
    """The values make no trunk."""


class Parts:
    """The sections of one trunk by kind, as places in the file's list; a kind that it has not is missing."""

    def __init__(self, sections: Sequence[Section], whole: Sequence[tuple[Line, ...]], registration: int) -> None:
        self._sections = sections
        self._whole = whole
        self.at = {"registration": registration}
        said = self.said("registration")
        name = sections[registration].name
        endpoint = said.get("endpoint", name)
        self._find("endpoint", endpoint)
        of_endpoint = self.said("endpoint")
        self._find("auth", said.get("outbound_auth") or of_endpoint.get("outbound_auth", name))
        self._find("aor", of_endpoint.get("aors", name).split(",")[0].strip())
        for place, section in enumerate(sections):
            if section.template or "identify" not in {line.value for line in whole[place]}:
                continue
            options = _said(whole[place])
            of_it = options.get("type") == "identify" and alike(options.get("endpoint", "")) == alike(endpoint)
            if of_it:
                self.at.setdefault("identify", place)

    def _find(self, kind: str, name: str) -> None:
        for place, section in enumerate(self._sections):
            if (
                not section.template
                and alike(section.name) == alike(name)
                and _said(self._whole[place]).get("type") == kind
            ):
                self.at.setdefault(kind, place)

    def said(self, kind: str) -> dict[str, str]:
        """Return the options of a part, what it inherits too; of several alike the last."""
        return _said(self._whole[self.at[kind]]) if kind in self.at else {}

    @property
    def name(self) -> str:
        """The registration's name is the trunk's."""
        return self._sections[self.at["registration"]].name

    def shown(self) -> dict[str, str]:
        """Return the trunk's members."""
        found = {member: self.said(kind).get(option, "") for member, (kind, option) in PLACES.items()}
        if "identify" in self.at:
            lines = self._whole[self.at["identify"]]
            found["match"] = ",".join(line.value for line in lines if line.name.lower() == "match")
        return {"name": self.name, **found, "hostname": host(found["server_uri"])}


def trunks(sections: Sequence[Section]) -> list[Parts]:
    """Return all trunks: one for each registration."""
    whole = effective(sections)
    return [
        Parts(sections, whole, place)
        for place, section in enumerate(sections)
        if not section.template and _said(whole[place]).get("type") == "registration"
    ]


def _said(lines: Sequence[Line]) -> dict[str, str]:
    return {line.name.lower(): line.value for line in lines}


def host(uri: str) -> str:
    """Return the host of a SIP URI, empty if it is none."""
    match = HOST.match(uri)
    return match[1] if match else ""


def created(sections: Sequence[Section], name: str, given: Mapping[str, str]) -> list[Section]:
    """Return the sections with another trunk. Raises NoTrunkError for values that make none."""
    if "," in name:
        raise NoTrunkError("name: no comma, it would be two names where a section names another")
    values = {member: given.get(member, "") for member in MEMBERS}
    if not values["hostname"]:
        values["hostname"] = host(values["server_uri"])
    where, user = values["hostname"], values["username"]
    if not where:
        raise NoTrunkError("hostname or server_uri is needed")
    values["server_uri"] = values["server_uri"] or f"sip:{where}"
    values["client_uri"] = values["client_uri"] or f"sip:{user or name}@{where}"
    values["contact"] = values["contact"] or values["server_uri"]
    values["context"] = values["context"] or "default"
    values["match"] = values["match"] or where
    made = [Section(name, tuple(Line(*line) for line in lines)) for lines in _sections(name, values)]
    return [*sections, *made]


def _sections(name: str, values: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    auth = [("outbound_auth", name)] if values["username"] else []
    made = [
        [
            ("type", "registration"),
            ("server_uri", values["server_uri"]),
            ("client_uri", values["client_uri"]),
            *auth,
        ],
        [("type", "aor"), ("contact", values["contact"])],
        [("type", "identify"), ("endpoint", name), ("match", values["match"])],
        [
            ("type", "endpoint"),
            ("context", values["context"]),
            ("disallow", "all"),
            ("allow", "ulaw,alaw"),
            ("aors", name),
            *auth,
        ],
    ]
    if values["username"]:
        credentials = [("username", values["username"]), ("password", values["password"])]
        made.append([("type", "auth"), ("auth_type", "userpass"), *credentials])
    return made


def updated(sections: Sequence[Section], trunk: Parts, given: Mapping[str, str]) -> list[Section]:
    """Return the sections with a trunk's members changed. Raises NoTrunkError if it has no section for one."""
    values = dict(given)
    now = trunk.shown()
    if now["hostname"] and values.get("hostname", "") not in {"", now["hostname"]}:
        # The host in all places where nothing else is asked for.
        for member in ("server_uri", "client_uri", "contact", "match"):
            values.setdefault(member, now[member].replace(now["hostname"], values["hostname"]))
    made = list(sections)
    for member, value in values.items():
        if member not in PLACES:
            continue
        kind, option = PLACES[member]
        if kind not in trunk.at:
            if value:
                raise NoTrunkError(f"{member}: the trunk {trunk.name} has no section of type {kind}")
            continue
        place = trunk.at[kind]
        made[place] = with_option(made[place], option, value)
    return made


def deleted(sections: Sequence[Section], trunk: Parts) -> list[Section]:
    """Return the sections without the trunk, but with parts of it that another section names."""
    whole = effective(sections)
    others = [n for n in range(len(sections)) if n not in trunk.at.values()]
    named = {
        (option, alike(name.strip()))
        for place in others
        for option, value in _said(whole[place]).items()
        for name in value.split(",")
    }

    def used(kind: str, *options: str) -> bool:
        return kind in trunk.at and any((option, alike(sections[trunk.at[kind]].name)) in named for option in options)

    kept = {
        kind
        for kind in KINDS
        if (used("endpoint", "endpoint") and kind != "registration")
        or (kind == "auth" and used("auth", "auth", "outbound_auth"))
        or (kind == "aor" and used("aor", "aors"))
    }
    gone = {place for kind, place in trunk.at.items() if kind not in kept}
    return [section for place, section in enumerate(sections) if place not in gone]
