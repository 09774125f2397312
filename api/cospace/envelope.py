"""cospace has no envelope (seed 000): a success is the bare object, an error a status word."""

import msgspec
from aiohttp import web

from api.http.errors import Problem, json_failure
from api.http.views.rendering import JSON, Renderer

WORDS = {
    400: "bad-parameter",
    401: "no-session",
    403: "access-denied",
    404: "empty-data",
    410: "archived",
    429: "too-many",
}


RENDERER = Renderer("cospace", JSON, msgspec.json.encode, lambda _now: (b"", b""))


def failure(problem: Problem) -> web.Response:
    """Return a refusal: a status word, without text."""
    word = problem.code or WORDS.get(problem.status, "internal-error")
    return json_failure(problem, {"status": word, **problem.more})
