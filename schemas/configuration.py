"""Configuration files of a PBX: their sections, and what the log says of them.

A text never holds a secret: where a password stands, it says ``MASK``.
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
    """``name = value``, or ``name => value``: Asterisk does not tell the two apart once they are read."""

    name: str
    value: str


class Section(Struct, frozen=True, omit_defaults=True):
    """``[name](!,inherits...)`` and its own lines, without those that come from the templates it inherits.

    A name may come several times (PJSIP: one for each type). Names are alike if their ASCII letters are, in any case.
    """

    name: str
    lines: tuple[Line, ...] = ()
    template: bool = False
    inherits: tuple[str, ...] = ()


class ConfigurationRead(RingledgerEvent, frozen=True):
    """The commander has read a file that is not as it was: this is what stands in it."""

    file: str
    text: str


class ConfigurationDeleted(Fact, frozen=True):
    """An earlier version, ``name``, is to be listed no more."""

    file: str
    name: str


class ConfigurationEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """Both, as folds read them."""

    file: str
    text: str = ""
    name: str = ""
