"""Every path of the API that the documentation names is routed."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.app import create
from schemas.settings import Settings
from tests.docs.pages import Name, spans

ROOMS = "v1/|api/|agents|device_states|peers|registries|me/|healthz|readyz|metrics"
PATH = re.compile(rf"(?:(?:GET|POST|PUT|DELETE) )?(/(?:{ROOMS})\S*)")
TOPICS = ("/agents/<id>", "/device_states/<device>", "/peers/", "/registries/<account>")
"""Topics of the event stream look like paths."""


def requests(path: str) -> Iterator[str]:
    """Return the paths that a documented form stands for: `[...]` is optional, `{a,b}` a choice, `<...>` any text."""
    path = re.sub(r"<[^>]*>", "x", path.partition("?")[0])
    parts = re.split(r"(\[[^\]]*\]|\{[^}]*\})", path)
    choices = [["", part[1:-1]] if part[:1] == "[" else part.strip("{}").split(",") for part in parts]
    yield from map("".join, itertools.product(*choices))


def documented() -> list[Name]:
    names = [Name(page, match[1]) for page, text in spans() if (match := PATH.fullmatch(text))]
    return sorted({name for name in names if not name.text.startswith(TOPICS)})


async def test_every_path_of_the_pages_is_routed(tmp_path: Path) -> None:
    app = create("postgresql:///none", Settings(data=tmp_path))
    names, unrouted = documented(), []
    for name in names:
        for path in requests(name.text):
            match = await app.router.resolve(make_mocked_request("GET", path))
            if isinstance(match.http_exception, web.HTTPNotFound):
                unrouted.append((name, path))
    assert len(names) > 60
    assert unrouted == []
