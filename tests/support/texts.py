"""The prose and the names in a file, as pieces that the rules of tests/support/prose.py can read."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMMENT = {".sql": "--", ".conf": ";", ".yaml": "#", ".yml": "#", ".toml": "#", "Makefile": "#", "Dockerfile": "#"}
DIRECTIVE = re.compile(r"#\s*(noqa|type:|pragma|mypy:|ruff:|fmt:|!)")
MESSAGES = re.compile(
    r"echo|print|secho|StreamClosed|NotFound|Conflict|Invalid|Forbidden|Unauthenticated|NotReady|OutcomeUnknown"
    r"|\w+Error|Counter|Gauge|Histogram|\w+MetricFamily"
)
"""Calls whose strings a person reads."""
SENTENCE = re.compile(r"[a-z]{3,} [a-z]{2,} [a-z]")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|LOCK TABLE|CREATE|ALTER|ON CONFLICT|FROM|WHERE)\b")


class Text(NamedTuple):
    """One paragraph, list item, table cell or message, and the line on which it begins."""

    line: int
    text: str


def texts_of(path: Path) -> list[Text]:
    """Return the prose of a file; a kind of file without rules has none."""
    mark = COMMENT.get(path.suffix) or COMMENT.get(path.name)
    if path.suffix == ".py":
        content = path.read_text(encoding="utf-8")
        code = [] if "tests" in path.parts else sentences_in(content)
        return [*docstrings(content), *python_comments(content), *messages(content), *code]
    if path.suffix == ".md":
        return list(markdown(path.read_text(encoding="utf-8")))
    return list(line_comments(path.read_text(encoding="utf-8"), mark)) if mark else []


def docstrings(source: str) -> Iterator[Text]:
    """Return the docstrings, those of variables and members too."""
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield from markdown(value.value, value.lineno)


def python_comments(source: str) -> Iterator[Text]:
    """Return the comments; those on consecutive lines of their own are one text."""
    lines = list[tuple[int, str]]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
            whole_line = token.line[: token.start[1]].strip() == ""
            if lines and not (whole_line and lines[-1][0] == token.start[0] - 1):
                yield from _joined(lines)
                lines.clear()
            lines.append((token.start[0], token.string.lstrip("#").split("# noqa")[0]))
    yield from _joined(lines)


def line_comments(content: str, mark: str) -> Iterator[Text]:
    lines = list[tuple[int, str]]()
    for number, line in enumerate(content.splitlines(), 1):
        code, found_mark, comment = line.partition(mark)
        if found_mark and (not code or code[-1].isspace()):
            if code.strip():
                yield Text(number, comment.lstrip("#"))
                continue
            lines.append((number, comment.lstrip("#")))
        else:
            yield from _joined(lines)
            lines.clear()
    yield from _joined(lines)


def _joined(lines: list[tuple[int, str]]) -> Iterator[Text]:
    if lines:
        yield from markdown("\n".join(text for _, text in lines), lines[0][0])


def messages(source: str) -> Iterator[Text]:
    """Return the strings that a person reads: those of errors, of help texts and of printed lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from _strings([*node.exc.args, *(keyword.value for keyword in node.exc.keywords)])
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield from _strings([keyword.value for keyword in node.keywords if keyword.arg == "help"])
            if MESSAGES.fullmatch(name):
                yield from _strings(node.args)


def sentences_in(source: str) -> Iterator[Text]:
    """Return all strings that read as sentences, wherever the code assigns or returns them; SQL does not."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in documentation:
            yield from (text for text in _strings([node]) if is_sentence(text.text))


def is_sentence(text: str) -> bool:
    return bool(SENTENCE.search(text)) and not SQL.search(text) and "\n" not in text.strip()


def _strings(values: list[ast.expr]) -> Iterator[Text]:
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield Text(value.lineno, value.value)
        elif isinstance(value, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "`value`" for part in value.values]
            yield Text(value.lineno, "".join(map(str, parts)))
        elif isinstance(value, ast.BinOp | ast.IfExp):
            yield from _strings([child for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr)])


def markdown(content: str, line: int = 1) -> Iterator[Text]:
    """Return paragraphs, items, headings and table cells; code blocks are passed over."""
    paragraph, begin, fence = list[str](), line, ""
    for number, row in enumerate(content.splitlines(), line):
        stripped = row.strip()
        if fence or stripped.startswith(("```", "~~~")):
            fence = "" if fence and stripped.startswith(fence) else fence or stripped[:3]
            stripped = ""
        code = row.startswith("    ") and not paragraph and content.count("\n#") > 0
        if stripped.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", stripped):
                yield Text(number, cell)
            stripped = ""
        if not stripped or code or re.match(r"([-*+]|\d+\.|#+|>|>>>|!!!)\s", stripped):
            if paragraph:
                yield Text(begin, "\n".join(paragraph))
            paragraph = []
        if code or stripped.startswith((">>>", "!!!")):
            continue
        if stripped:
            begin = begin if paragraph else number
            paragraph.append(re.sub(r"^([-*+]|\d+\.|#+|>)\s+", "", stripped))
            if stripped.startswith("#"):
                yield Text(begin, paragraph.pop())
    if paragraph:
        yield Text(begin, "\n".join(paragraph))


def names_of(path: Path) -> Iterator[Text]:
    """Return every name that a Python file defines: modules, classes, functions, arguments, variables, members."""
    if path.suffix != ".py":
        return
    yield Text(1, path.stem)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Members of Structs are names of stored data (columns, events), which stay as they are.
    data = {*_members(tree)} if {"schemas", "projections"} & set(path.parts) else set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield Text(node.lineno, node.name)
        elif isinstance(node, ast.arg):
            yield Text(node.lineno, node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in data:
            yield Text(node.lineno, node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield Text(node.lineno, node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (Text(node.lineno, alias.asname) for alias in node.names if alias.asname)


def _members(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (item.target for item in node.body if isinstance(item, ast.AnnAssign))
