"""Configuration files as the commander has read them: the present text of each, and earlier versions."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.configuration import ConfigurationEvent


class Configuration(Row):
    """A file, or an earlier version of it with the ``name`` ``<file>.<time of its replacement>``.

    ``since`` is the time at which this text was first read.
    """

    file: str
    name: str
    text: str
    since: datetime


def of_file(e: ConfigurationEvent) -> Key:
    return (e.file,)


def by_name(e: ConfigurationEvent) -> Key | None:
    return (e.file, e.name) if e.name != e.file else None


def store(rows: dict[Key, Configuration], e: ConfigurationEvent) -> dict[Key, Configuration]:
    current = rows.get((e.file, e.file))
    if current is not None and current.text == e.text:
        return rows
    rows = {**rows, (e.file, e.file): Configuration(e.pbx, e.at, e.file, e.file, e.text, e.at)}
    if current is not None:
        name = f"{e.file}.{e.at:%Y-%m-%dT%H:%M:%S.%fZ}"
        rows[e.file, name] = replace(current, name=name)
    return rows


def delete(_row: Configuration | None, _e: ConfigurationEvent) -> None:
    return None


CONFIGURATIONS = ReadModel(
    name="configurations",
    version=1,
    row=Configuration,
    key=("file", "name"),
    grouped_by=1,
    on={
        "ConfigurationRead": GroupHandler(ConfigurationEvent, of_file, store),
        "ConfigurationDeleted": Handler(ConfigurationEvent, by_name, delete, deletes_unseen=True),
    },
    is_state=False,
)
