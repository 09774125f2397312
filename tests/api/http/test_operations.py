"""The operations of the dialects compared with the documented ones: a missing row fails a test."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from aiohttp import web

from api.cospace.dialect import COSPACE
from api.http.auth import identify
from api.http.dialect import Dialect
from api.http.errors import json_failure
from api.http.operation import Operation, routes_of
from api.jade.dialect import jade
from schemas.settings import Settings
from tests.contract import operations

JADE = jade(Settings(data=Path()))
OPEN = jade(Settings(data=Path(), open_views=True))
DIALECTS = [JADE, OPEN, COSPACE]

NOT_BUILT = {
    *("cospace.mwi.get", "cospace.mwi.set", "cospace.mwi.delete", "cospace.idcardcheck.list"),
    *("cospace.idcardcheck.address", "cospace.idcardcheck.pdf", "cospace.idcardcheck.result"),
}
"""Rows of existing dialects that a later issue implements."""
NO_DIALECT = {"mor", "sip2sip", "sipgate"}
UNDOCUMENTED = {
    *("jade.manager.login.create", "jade.manager.login.delete", "jade.me.login.create", "jade.me.login.delete"),
    *("jade.me.calls.create", "jade.queue.entries.hangup", "jade.queue.members.create"),
    *("jade.queue.members.update", "jade.queue.members.delete"),
}
"""Operations that are in no document."""


def bare(path: str) -> str:
    """Return a path without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def forms(dialect: Dialect) -> dict[str, set[tuple[str, str]]]:
    """Return method and path of all forms by operation id."""
    by_id: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one in dialect.operations:
        by_id[one.id] |= {(one.method, bare(path)) for path in one.paths}
    return by_id


@pytest.mark.parametrize("dialect", DIALECTS, ids=["jade", "jade with open views", "cospace"])
def test_a_table_has_every_documented_form(dialect: Dialect) -> None:
    rows = {o.id: {(o.method, bare(path)) for path in o.paths} for o in operations().values()}
    documented = {id_: paths for id_, paths in rows.items() if id_.startswith(f"{dialect.name}.")}
    built = forms(dialect)
    assert built.keys() - UNDOCUMENTED == documented.keys() - NOT_BUILT
    for id_ in built.keys() & documented.keys():
        assert built[id_] == documented[id_], id_


def test_missing_operations_are_listed_as_not_built() -> None:
    assert operations().keys() >= NOT_BUILT
    assert {id_.partition(".")[0] for id_ in operations()} == {d.name for d in DIALECTS} | NO_DIALECT


@pytest.mark.parametrize("dialect", DIALECTS)
def test_operations_of_a_dialect_are_distinct(dialect: Dialect) -> None:
    requests = [(o.method, path, *sorted(o.where.items())) for o in dialect.operations for path in o.paths]
    assert len(requests) == len(set(requests))


def test_only_logins_and_open_views_are_public() -> None:
    public = {o.id for o in JADE.operations if not o.permission}
    assert public == {"jade.admin.login.create", "jade.manager.login.create", "jade.me.login.create"}
    assert {path for o in OPEN.operations if not o.permission and o.method == "GET" for path in o.paths} == {
        f"/{family}{end}" for family in ("agents", "device_states", "peers", "registries") for end in ("", "/")
    }
    assert all(o.permission for o in COSPACE.operations)


async def answer(request: web.Request) -> web.Response:
    return web.Response(text=request.query.get("action", ""))


def test_a_writing_get_has_no_head() -> None:
    table = [
        Operation("x.read", "GET", ("/read",), answer, ""),
        Operation("x.write", "GET", ("/write",), answer, "", writes=True),
    ]
    routes = routes_of(table, identify, str)
    assert [(route.path, route.kwargs["allow_head"], is_read) for route, is_read in routes] == [
        ("/read", True, True),
        ("/write", False, False),
    ]


def test_a_failure_is_json_without_caching() -> None:
    from api.http.errors import Problem

    response = json_failure(Problem(503, headers={"Retry-After": "1"}), {"a": 1})
    assert (response.status, response.body) == (503, b'{"a":1}')
    assert (response.headers["Cache-Control"], response.headers["Retry-After"]) == ("no-store", "1")
