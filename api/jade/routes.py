"""Paths of jade: its families, with and without /v1, and the operations at them."""

from api.http.errors import Handler
from api.http.operation import Operation
from api.http.views.view import View
from api.jade.writes import once

SLASHES = "{detail:(?s:.+)}"
PERMISSIONS = {"admin": "admin", "manager": "manager", "me": "user"}
"""The permission that a family of paths needs."""
LOGINS = {**PERMISSIONS, "admin": "supervisor"}
"""The permission that a family's login needs: a supervisor reads the views below /admin."""


def operation(
    name: str, method: str, path: str, serve: View | Handler, *more: str, permission: str | None = None
) -> Operation:
    """Return an operation at a path of a family, with and without /v1; ``more`` are other documented forms.

    ``permission`` is that of the family if it is not given.
    Views of the caller's own data are personal.
    """
    return Operation(
        f"jade.{name}",
        method,
        (f"/v1{path}", path, *more),
        serve,
        permission=permission or PERMISSIONS[path.split("/")[1]],
        personal=method == "GET" and (path.startswith("/me/") or path == "/admin/info"),
    )


def get(name: str, path: str, serve: View | Handler, *more: str) -> Operation:
    return operation(name, "GET", path, serve, *more)


def live(name: str, path: str, view: View, *more: str) -> Operation:
    """Return the read of a live view of the PBX, which a supervisor may read."""
    return operation(name, "GET", path, view, *more, permission="supervisor")


def post(name: str, path: str, serve: Handler) -> Operation:
    return operation(name, "POST", path, serve)


def put(name: str, path: str, serve: Handler) -> Operation:
    return operation(name, "PUT", path, serve)


def delete(name: str, path: str, serve: Handler) -> Operation:
    return operation(name, "DELETE", path, serve)


def act(name: str, method: str, path: str, serve: Handler) -> Operation:
    return operation(name, method, path, once(serve))


def pattern(path: str) -> str:
    """Return a path as the router takes it. ``{detail}`` at its end may hold slashes.

    A proxy may have decoded %2F. Below /me details are UUIDs, and longer paths follow them.
    """
    takes_slashes = path.endswith("/{detail}") and not path.removeprefix("/v1").startswith("/me/")
    return path.replace("{detail}", SLASHES if takes_slashes else "{detail:[^/]+}")
