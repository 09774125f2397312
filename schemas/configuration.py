"""Configuration files of a PBX: their sections, and their events.

A text never holds a secret: ``MASK`` replaces each password.
"""

from msgspec import Struct

from schemas.ami import OwnEvent
from schemas.facts import Fact
from schemas.log import RingledgerEvent

DIALPLAN = "extensions.conf"
PARKING = "res_parking.conf"
PJSIP = "pjsip.conf"
QUEUES = "queues.conf"
FILES = (DIALPLAN, PARKING, PJSIP, QUEUES)


class Line(Struct, frozen=True, array_like=True):
    """``name = value``, or ``name => value``: Asterisk does not distinguish the two after reading them."""

    name: str
    value: str


class Section(Struct, frozen=True, omit_defaults=True):
    """``[name](!,inherits...)`` and its own lines, without those that come from the templates it inherits.

    A name may occur several times (PJSIP: one section per type). Names are compared without the case of ASCII letters.
    """

    name: str
    lines: tuple[Line, ...] = ()
    template: bool = False
    inherits: tuple[str, ...] = ()


class ConfigurationRead(RingledgerEvent, frozen=True):
    """The new text of a file that has changed since the commander last read it."""

    file: str
    text: str


class ConfigurationDeleted(Fact, frozen=True):
    """The deletion of an earlier version, ``name``, from the list of versions."""

    file: str
    name: str


class ConfigurationEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """Both, as folds read them."""

    file: str
    text: str = ""
    name: str = ""
