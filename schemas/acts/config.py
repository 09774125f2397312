"""Acts on a PBX's configuration files. They hold no secret values: a token replaces each of them.

A secret line's value is `schemas.secrets.MASK` (keep what the file has) or a token of ``ledger.secret``.
"""

from typing import Literal

from msgspec import field

from schemas.acts import Act
from schemas.configuration import Line, Section


class ConfigReplace(Act, frozen=True, tag="config.replace"):
    """Replace the sections of a file. ``base`` is the digest that its present text must have, empty for any."""

    file: str
    sections: tuple[Section, ...]
    base: str = ""


class ConfigSection(Act, frozen=True, tag="config.section"):
    """Create, update, change or delete the only section of this name.

    ``create`` and ``update`` set all lines; ``change`` sets the options that the lines name and leaves the others.
    ``inherits`` None leaves the templates unchanged.
    """

    file: str
    name: str
    doing: Literal["create", "update", "change", "delete"]
    lines: tuple[Line, ...] = ()
    inherits: tuple[str, ...] | None = None


class ConfigTrunk(Act, frozen=True, tag="config.trunk"):
    """Create, update or delete the PJSIP sections of a trunk.

    ``given`` are members as in ``services/asterisk/config/trunks.py``; others keep their values or take defaults.
    """

    name: str
    doing: Literal["create", "update", "delete"]
    given: dict[str, str] = field(default_factory=dict)
