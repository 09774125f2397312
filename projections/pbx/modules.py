"""Loaded modules, as in `module show`, or by ModuleCheck where Command is not permitted."""

import re

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.ami.core import ModuleChecked, ModuleEvent, ModulesShown

# "app_dial.so   Dialing Application   0   Running   core"; the description is free text, cut at 40 characters.
LINE = re.compile(r"(?P<name>\S{1,200})\s.{0,200}\s\d+\s+(?P<load>Running|Not Running)\s+\S+\s*")


class Module(Row):
    """One module; ``name`` is without ``.so``. ``size`` is 0, because AMI does not give it."""

    name: str
    load: str = "Running"
    size: int = 0


def without_suffix(name: str) -> str:
    return name.removesuffix(".so")


def by_module(e: ModuleEvent) -> Key | None:
    return (without_suffix(e.module),) if e.module and e.status == "Success" else None


def by_request(e: ModuleChecked) -> Key | None:
    is_answer = e.response == "Success" or e.message == "Module not loaded"
    return (without_suffix(e.action_id.rpartition("/")[2]),) if is_answer else None


def all_of_pbx(e: ModulesShown) -> Key | None:
    return () if e.response == "Success" and e.action_id.endswith("/modules") else None


def load(row: Module | None, e: ModuleEvent) -> Module:
    return replace(row, load="Running") if row else Module(pbx=e.pbx, tm_update=e.at, name=without_suffix(e.module))


def unload(_row: Module | None, _e: ModuleEvent) -> None:
    return None


def apply_check(row: Module | None, e: ModuleChecked) -> Module | None:
    if e.response != "Success":
        return None
    return row or Module(pbx=e.pbx, tm_update=e.at, name=without_suffix(e.action_id.rpartition("/")[2]))


def apply_table(rows: dict[Key, Module], e: ModulesShown) -> dict[Key, Module]:
    """Return the rows of the whole table; a table without any module leaves the rows as they are."""
    listed: dict[Key, Module] = {}
    for line in e.output.split("\n"):
        if match := LINE.fullmatch(line):
            key = (without_suffix(match["name"]),)
            row = rows.get(key) or Module(pbx=e.pbx, tm_update=e.at, name=key[0])
            listed[key] = replace(row, load=match["load"])
    return listed or rows


MODULES = ReadModel(
    name="modules",
    version=1,
    row=Module,
    key=("name",),
    grouped_by=0,
    on={
        "Response:Command": GroupHandler(ModulesShown, all_of_pbx, apply_table),
        "Response:ModuleCheck": Handler(ModuleChecked, by_request, apply_check),
        "Load": Handler(ModuleEvent, by_module, load),
        "Unload": Handler(ModuleEvent, by_module, unload, deletes_unseen=True),
    },
)
