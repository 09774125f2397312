"""The pages of the documentation, and the names in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Name(NamedTuple):
    """A name, and the page that has it."""

    page: str
    text: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def spans() -> Iterator[Name]:
    """Return the code spans of all pages."""
    for page in pages():
        yield from (Name(_shown(page), text) for text in SPAN.findall(prose(page)))


def lines() -> Iterator[Name]:
    """Return the code spans and the lines of code blocks, where commands are."""
    yield from spans()
    for page in pages():
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            yield from (Name(_shown(page), line.strip()) for line in block.splitlines())


def links() -> Iterator[Name]:
    """Return the relative links of all pages."""
    for page in pages():
        yield from (Name(_shown(page), link) for link in LINK.findall(prose(page)) if "://" not in link)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as mkdocs and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _shown(page: Path) -> str:
    return str(page.relative_to(ROOT))
