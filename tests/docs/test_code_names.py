"""Every name of code that the documentation, a docstring or a comment quotes exists."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT, Name, spans

CODE = ("api", "docker", "projections", "schemas", "services", "tests")
WORD = re.compile(r"[^\W\d]\w*")
SPAN = re.compile(r"(`{1,2})([^`\n]+)\1")
NO_CODE = re.compile(r'^ *r?""".*?"""|(?:#|--)[^\n]*', re.DOTALL | re.MULTILINE)
"""Docstrings, which begin a line, and comments."""
PLAIN_NAME = re.compile(r"\w+(\.\w+)*(\(.*\))?")
"""A name, perhaps with the module before it and arguments behind it; other spans are commands, paths, or values."""

FOREIGN = {
    "proxy_pass",  # nginx
    *("DTMFEnd", "ast_devstate_str", "sip_peer_status"),  # Asterisk
    *("CrossOriginProtection", "EventSource"),  # Go, browsers
    *("python3", "sha256sum"),  # programs
    *("BODY", "defhdr"),  # the documents of jade
    *("CHANGELOG", "hangup_causes"),  # a file, the example of the recipes
}
"""Names of other software, and those that stand for any text."""


@cache
def code_names() -> frozenset[str]:
    """Return the words of the code outside docstrings and comments, with those of SQL and of configuration."""
    names: set[str] = set()
    for file in files(".py", ".sql", ".conf", ".yaml", ".json", ".tsv"):
        names.update(WORD.findall(NO_CODE.sub("", file.read_text(encoding="utf-8"))))
    return frozenset(names)


def files(*suffixes: str) -> Iterator[Path]:
    all_files = (file for folder in CODE for file in (ROOT / folder).rglob("*"))
    return (file for file in all_files if file.suffix in suffixes and file != Path(__file__))


def unknown(text: str) -> set[str]:
    return set(WORD.findall(text)) - code_names() - FOREIGN


def test_every_name_of_code_in_the_pages_exists() -> None:
    names = [name for name in spans() if PLAIN_NAME.fullmatch(name.text) and not name.text.startswith("test_")]
    assert len(names) > 500
    assert [name for name in names if unknown(without_suffix(name.text))] == []


def without_suffix(metric: str) -> str:
    """Return the name of a metric as the code has it; the client library adds the end of a counter's."""
    return metric.removesuffix("_total") if metric.startswith("ringledger_") else metric


def test_every_code_name_in_comments_exists() -> None:
    quoted = [
        Name(str(file.relative_to(ROOT)), span)
        for file in files(".py")
        for _, span in SPAN.findall(file.read_text(encoding="utf-8"))
        if PLAIN_NAME.fullmatch(span)
    ]
    assert len(quoted) > 1000
    assert [name for name in quoted if unknown(name.text)] == []
