"""Trunks: a PJSIP registration together with its auth, aor, identify and endpoint sections.

Members: ``name``, ``server_uri``, ``client_uri``, ``username``, ``password``, ``contact``, ``context``, ``hostname``,
``match``; ``hostname`` is the host of ``server_uri``.
"""

import re
from collections.abc import Mapping, Sequence

from schemas.configuration import Line, Section
from services.asterisk.config.sections import effective_lines, name_key, with_option

TRUNK_MEMBERS = ("server_uri", "client_uri", "username", "password", "contact", "context", "hostname", "match")
TYPES = ("registration", "auth", "aor", "identify", "endpoint")
HOST = re.compile(r"sips?:(?:[^@]*@)?(\[[^\]]*\]|[^:;>]+)")
OPTIONS = {
    "server_uri": ("registration", "server_uri"),
    "client_uri": ("registration", "client_uri"),
    "username": ("auth", "username"),
    "password": ("auth", "password"),
    "contact": ("aor", "contact"),
    "context": ("endpoint", "context"),
    "match": ("identify", "match"),
}
"""The section type and option of each member."""


class InvalidTrunkError(Exception):
    """The values do not make a trunk."""


class Trunk:
    """The sections of one trunk; ``indexes`` maps a section type to its index in the file, missing types left out."""

    def __init__(self, sections: Sequence[Section], effective: Sequence[tuple[Line, ...]], registration: int) -> None:
        self._sections = sections
        self._effective = effective
        self.indexes = {"registration": registration}
        options = self.options("registration")
        name = sections[registration].name
        endpoint = options.get("endpoint", name)
        self._find("endpoint", endpoint)
        endpoint_options = self.options("endpoint")
        self._find("auth", options.get("outbound_auth") or endpoint_options.get("outbound_auth", name))
        self._find("aor", endpoint_options.get("aors", name).split(",")[0].strip())
        for index, section in enumerate(sections):
            if section.template or "identify" not in {line.value for line in effective[index]}:
                continue
            identify = _options(effective[index])
            if identify.get("type") == "identify" and name_key(identify.get("endpoint", "")) == name_key(endpoint):
                self.indexes.setdefault("identify", index)

    def _find(self, kind: str, name: str) -> None:
        for index, section in enumerate(self._sections):
            if (
                not section.template
                and name_key(section.name) == name_key(name)
                and _options(self._effective[index]).get("type") == kind
            ):
                self.indexes.setdefault(kind, index)

    def options(self, kind: str) -> dict[str, str]:
        """Return the options of a section type, inherited ones included; the last of a repeated option counts."""
        return _options(self._effective[self.indexes[kind]]) if kind in self.indexes else {}

    @property
    def name(self) -> str:
        """The registration's name."""
        return self._sections[self.indexes["registration"]].name

    def members(self) -> dict[str, str]:
        """Return the trunk's members."""
        values = {member: self.options(kind).get(option, "") for member, (kind, option) in OPTIONS.items()}
        if "identify" in self.indexes:
            lines = self._effective[self.indexes["identify"]]
            values["match"] = ",".join(line.value for line in lines if line.name.lower() == "match")
        return {"name": self.name, **values, "hostname": host(values["server_uri"])}


def trunks(sections: Sequence[Section]) -> list[Trunk]:
    """Return all trunks: one for each registration."""
    effective = effective_lines(sections)
    return [
        Trunk(sections, effective, index)
        for index, section in enumerate(sections)
        if not section.template and _options(effective[index]).get("type") == "registration"
    ]


def _options(lines: Sequence[Line]) -> dict[str, str]:
    return {line.name.lower(): line.value for line in lines}


def host(uri: str) -> str:
    """Return the host of a SIP URI, empty for any other text."""
    match = HOST.match(uri)
    return match[1] if match else ""


def with_trunk(sections: Sequence[Section], name: str, members: Mapping[str, str]) -> list[Section]:
    """Return the sections with one more trunk. Raises InvalidTrunkError."""
    if "," in name:
        raise InvalidTrunkError("name must not contain a comma, which separates names in other sections")
    values = {member: members.get(member, "") for member in TRUNK_MEMBERS}
    if not values["hostname"]:
        values["hostname"] = host(values["server_uri"])
    hostname, user = values["hostname"], values["username"]
    if not hostname:
        raise InvalidTrunkError("hostname or server_uri is required")
    values["server_uri"] = values["server_uri"] or f"sip:{hostname}"
    values["client_uri"] = values["client_uri"] or f"sip:{user or name}@{hostname}"
    values["contact"] = values["contact"] or values["server_uri"]
    values["context"] = values["context"] or "default"
    values["match"] = values["match"] or hostname
    new = [Section(name, tuple(Line(*line) for line in lines)) for lines in _new_sections(name, values)]
    return [*sections, *new]


def _new_sections(name: str, values: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    auth = [("outbound_auth", name)] if values["username"] else []
    sections = [
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
        sections.append([("type", "auth"), ("auth_type", "userpass"), *credentials])
    return sections


def with_members(sections: Sequence[Section], trunk: Trunk, members: Mapping[str, str]) -> list[Section]:
    """Return the sections with members of a trunk changed.

    Raises InvalidTrunkError if the trunk has no section for a member.
    """
    values = dict(members)
    now = trunk.members()
    if now["hostname"] and values.get("hostname", "") not in {"", now["hostname"]}:
        # A new host replaces the old one in all members that the caller does not set.
        for member in ("server_uri", "client_uri", "contact", "match"):
            values.setdefault(member, now[member].replace(now["hostname"], values["hostname"]))
    changed = list(sections)
    for member, value in values.items():
        if member not in OPTIONS:
            continue
        kind, option = OPTIONS[member]
        if kind not in trunk.indexes:
            if value:
                raise InvalidTrunkError(f"{member}: the trunk {trunk.name} has no section of type {kind}")
            continue
        index = trunk.indexes[kind]
        changed[index] = with_option(changed[index], option, value)
    return changed


def without_trunk(sections: Sequence[Section], trunk: Trunk) -> list[Section]:
    """Return the sections without the trunk, except for those that a section outside the trunk refers to."""
    effective = effective_lines(sections)
    others = [n for n in range(len(sections)) if n not in trunk.indexes.values()]
    references = {
        (option, name_key(name.strip()))
        for index in others
        for option, value in _options(effective[index]).items()
        for name in value.split(",")
    }

    def is_referenced(kind: str, *options: str) -> bool:
        return kind in trunk.indexes and any(
            (option, name_key(sections[trunk.indexes[kind]].name)) in references for option in options
        )

    shared = {
        kind
        for kind in TYPES
        if (is_referenced("endpoint", "endpoint") and kind != "registration")
        or (kind == "auth" and is_referenced("auth", "auth", "outbound_auth"))
        or (kind == "aor" and is_referenced("aor", "aors"))
    }
    deleted = {index for kind, index in trunk.indexes.items() if kind not in shared}
    return [section for index, section in enumerate(sections) if index not in deleted]
