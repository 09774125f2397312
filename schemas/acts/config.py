"""Acts on a PBX's configuration files. Secret values are no part of them: a token stands in their place.

A secret line's value is `schemas.secrets.MASK` (keep what the file has) or a token of ``ledger.secret``.
"""

from typing import Literal

from msgspec import field

from schemas.acts import Act
from schemas.configuration import Line, Section


class ConfigReplace(Act, frozen=True, tag="config.replace"):
    """Make a file say this. ``base`` is the digest of the text that it must have now, empty for any."""

    file: str
    sections: tuple[Section, ...]
    base: str = ""


class ConfigSection(Act, frozen=True, tag="config.section"):
    """Do something to the one section of this name.

    ``create`` and ``update`` give it these lines, ``change`` sets the options that the lines name and leaves the
    others. ``inherits`` None: as it was.
    """

    file: str
    name: str
    doing: Literal["create", "update", "change", "delete"]
    lines: tuple[Line, ...] = ()
    inherits: tuple[str, ...] | None = None


class ConfigTrunk(Act, frozen=True, tag="config.trunk"):
    """Do something to the PJSIP sections that make a trunk.

    ``given`` are members as in ``services/asterisk/config/trunks.py``; what is not given stays, or is made up.
    """

    name: str
    doing: Literal["create", "update", "delete"]
    given: dict[str, str] = field(default_factory=dict)
