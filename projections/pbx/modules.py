"""Modules that are loaded: what `module show` shows, or, where Command is not permitted, what ModuleCheck says."""

import re

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.ami.core import ModuleChecked, ModuleEvent, ModulesShown

# "app_dial.so   Dialing Application   0   Running   core"; the description is free text, cut at 40 characters.
LINE = re.compile(r"(?P<name>\S{1,200})\s.{0,200}\s\d+\s+(?P<load>Running|Not Running)\s+\S+\s*")


class Module(Row):
    """One module, named without ``.so``. ``size`` is 0: AMI does not tell it."""

    name: str
    load: str = "Running"
    size: int = 0


def bare(name: str) -> str:
    return name.removesuffix(".so")


def by_module(e: ModuleEvent) -> Key | None:
    return (bare(e.module),) if e.module and e.status == "Success" else None


def by_question(e: ModuleChecked) -> Key | None:
    known = e.response == "Success" or e.message == "Module not loaded"
    return (bare(e.action_id.rpartition("/")[2]),) if known else None


def all_of_pbx(e: ModulesShown) -> Key | None:
    return () if e.response == "Success" and e.action_id.endswith("/modules") else None


def loaded(row: Module | None, e: ModuleEvent) -> Module:
    return replace(row, load="Running") if row else Module(pbx=e.pbx, tm_update=e.at, name=bare(e.module))


def unloaded(_row: Module | None, _e: ModuleEvent) -> None:
    return None


def checked(row: Module | None, e: ModuleChecked) -> Module | None:
    if e.response != "Success":
        return None
    return row or Module(pbx=e.pbx, tm_update=e.at, name=bare(e.action_id.rpartition("/")[2]))


def shown(rows: dict[Key, Module], e: ModulesShown) -> dict[Key, Module]:
    """Take the whole table; an answer without a single module is not believed."""
    found: dict[Key, Module] = {}
    for line in e.output.split("\n"):
        if match := LINE.fullmatch(line):
            key = (bare(match["name"]),)
            row = rows.get(key) or Module(pbx=e.pbx, tm_update=e.at, name=key[0])
            found[key] = replace(row, load=match["load"])
    return found or rows


MODULES = ReadModel(
    name="modules",
    version=1,
    row=Module,
    key=("name",),
    grouped_by=0,
    on={
        "Response:Command": GroupHandler(ModulesShown, all_of_pbx, shown),
        "Response:ModuleCheck": Handler(ModuleChecked, by_question, checked),
        "Load": Handler(ModuleEvent, by_module, loaded),
        "Unload": Handler(ModuleEvent, by_module, unloaded, deletes_unseen=True),
    },
)
