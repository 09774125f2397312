"""The columns of a CEL csv: their names in ``import --columns``, and the event of Ringledger that records them.

A column has the name of its variable in Asterisk's ``cel_custom.conf`` (``eventtype``), or that of its column in the
table of cel_odbc and cel_pgsql.
"""

from schemas.ami import OwnEvent
from schemas.log import RingledgerEvent

HEADERS = {
    "eventtype": "EventName",
    "eventtime": "EventTime",
    "cidname": "CallerIDname",
    "cidnum": "CallerIDnum",
    "cidani": "CallerIDani",
    "cidrdnis": "CallerIDrdnis",
    "ciddnid": "CallerIDdnid",
    "exten": "Exten",
    "context": "Context",
    "channame": "Channel",
    "appname": "Application",
    "appdata": "AppData",
    "amaflags": "AMAFlags",
    "accountcode": "AccountCode",
    "uniqueid": "UniqueID",
    "linkedid": "LinkedID",
    "peer": "Peer",
    "userfield": "Userfield",
    "userdeftype": "UserDefType",
    "eventextra": "Extra",
    "peeraccount": "PeerAccount",
}
"""The header of the AMI event ``CEL`` for each column."""
ALIASES = {"bridgepeer": "peer", "channel": "channame", "extra": "eventextra"}
UNUSED = "-"
"""The name of a column that nothing reads."""
REQUIRED = ("eventtype", "eventtime", "uniqueid", "linkedid")

DEFAULT = tuple(HEADERS)[:20]
"""The columns of Asterisk's own ``cel_custom.conf``."""
SHORTEST = DEFAULT.index("linkedid") + 1
"""Asterisk 1.8 lacks ``userdeftype`` and ``eventextra``; a file may also end with ``linkedid``."""
BRIEF = (*DEFAULT[:4], *DEFAULT[7:12], *DEFAULT[14:])
"""The default without caller ids of other kinds, AMA flags and account code: the other common layout."""


class CelColumns(RingledgerEvent, frozen=True):
    """Lines of ``cel_csv`` that follow in the log for this PBX have these columns; empty: one of the two layouts.

    ``import --cel-csv`` writes it only when the columns differ from those of the lines before.
    """

    columns: tuple[str, ...] = ()


class CelColumnsEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """CelColumns, as folds read it."""

    columns: tuple[str, ...] = ()


class ColumnsError(ValueError):
    """The columns are invalid; the message is one line."""


def parse_columns(text: str) -> tuple[str, ...]:
    """Return the columns that ``a,b,...`` names, empty for the default. Raises ColumnsError."""
    names = [name.strip().lower().replace("_", "") for name in text.split(",")]
    columns = tuple(ALIASES.get(name, name) for name in names)
    for name in columns:
        if name not in HEADERS and name != UNUSED:
            raise ColumnsError(f"{name!r} is not a column of CEL ({', '.join(HEADERS)}, or {UNUSED} for any other)")
        if name != UNUSED and columns.count(name) > 1:
            raise ColumnsError(f"{name} is named twice")
    for name in REQUIRED:
        if name not in columns:
            raise ColumnsError(f"{name} is missing")
    return () if columns == layout(len(columns)) else columns


def layout(count: int) -> tuple[str, ...] | None:
    """Return the columns of a line with ``count`` values, if no others are named; None if there is no such layout."""
    if count == len(BRIEF):
        return BRIEF
    return DEFAULT[:count] if SHORTEST <= count <= len(DEFAULT) else None
