"""The prose lint: plain English in docstrings, comments, messages and Markdown, and plain names in code.

Run it with ``.venv/bin/python -m tests.support.prose [PATHS]``. Without paths it checks the whole repository. The rules
are in docs/contributing/index.md.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.texts import Text, names_of, texts_of

ROOT = Path(__file__).parents[2]
MAX_WORDS = 25  # The limit of ASD-STE100; its rule of counting too: a colon ends a sentence, parentheses are their own.

PARTICIPLES = frozenset(
    ["told", "wanted", "held", "said", "found", "asked", "known", "given", "kept", "begun", "seen", "heard"]
)
STEPS = {("folding.py", "given")}
"""The first step of a fold's specification: given, when, then."""
OPENINGS = re.compile(r"(?:What|Who|Whoever|Whose|Whatever|Of|By(?! default)|Nor)\b")
BANNED = {
    "nobody": "no client, no process; or an active sentence",
    "whoever": "the client that, any user who",
    "anew": "again",
    "told|tells": "returned, logged, reported",
    "says|said": "returns, reports, means",
    "hears|heard": "receives, received",
    "wants|wanted": "requires, requests",
    "knows": "has, stores",
    "of (?:ours|its own accord)": "Ringledger's",
    "stands?(?! by\\b| for\\b| up\\b)|stood": "is",
    "(?:to|be|can be|may be) had": "available",
    "(?:is|are) to be": "must be",
    "(?:is|are|was|were) asked": "is requested, is queried",
    "no such thing": "not found: KIND NAME",
    "for ever": "forever",
    "so many": "the number",
    "is meant": "is selected, means",
    "none the worse|any the worse|in vain": "a fact",
    "goes on(?! to)|went on(?! to)": "continues",
    "at hand": "available",
    "as it were|all the same|whence|thereof|therein|hitherto|lest": "plain words",
    "to and fro|let go|lets go": "a technical verb",
    "looks? on": "waits, watches",
    "is gone|are gone": "is deleted, does not exist",
    "comes? to know": "receives",
    "(?<!there )is none": "does not exist",
}
GENERATED = re.compile(r"\.venv|\..*_cache|__pycache__|\.git|\.hypothesis|build|node_modules|captures|.*\.egg-info")
CODE = re.compile(r"(`+)[^`]*?\1|\bhttps?://\S+|\"[^\"\n]*\"")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
SENTENCE_END = re.compile(r"(?<=[.!?:])[)\"'*_]*(?:\s+|$)")


class Finding(NamedTuple):
    """A place that breaks a rule."""

    path: Path
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"


def check_file(path: Path) -> list[Finding]:
    """Return the findings in a file, in the order of its lines."""
    shown = path.relative_to(ROOT) if path.is_absolute() and path.is_relative_to(ROOT) else path
    findings = [
        Finding(shown, line, rule, detail) for text in texts_of(path) for line, rule, detail in check_text(text)
    ]
    findings += [
        Finding(shown, line, "name", f"{name} is a participle; use a noun, a verb or is_/has_")
        for line, name in names_of(path)
        if name.strip("_").lower() in PARTICIPLES and (path.name, name) not in STEPS
    ]
    return sorted(set(findings), key=lambda finding: finding.line)


def check_text(text: Text) -> Iterator[tuple[int, str, str]]:
    """Return line, rule and detail of each finding; code spans, quotations and addresses count as one word."""
    plain = CODE.sub(_span, LINK.sub(r"\1", text.text))
    for words, instead in BANNED.items():
        for match in re.finditer(rf"\b(?:{words})\b", plain, re.IGNORECASE):
            yield _line(text, plain, match.start()), "word", f'"{" ".join(match[0].split())}"; use: {instead}'
    for start, sentence in sentences(plain):
        opening = OPENINGS.match(sentence)
        if opening:
            yield _line(text, plain, start), "opening", f'a sentence begins with "{opening[0]}"; put the subject first'
        count = len(re.findall(r"\S*[A-Za-z0-9`]\S*", sentence))
        if count > MAX_WORDS:
            yield _line(text, plain, start), "length", f"{count} words: {' '.join(sentence.split()[:6])} ..."


def sentences(plain: str) -> Iterator[tuple[int, str]]:
    """Split a text at full stops and colons; what is in parentheses is a sentence of its own."""
    for inner in re.finditer(r"\(([^()]*)\)", plain):
        yield inner.start(1), inner[1]
    outer = re.sub(r"\([^()]*\)", lambda match: re.sub(r"\S", " ", match[0]), plain)
    start = 0
    for end in [*(match.end() for match in SENTENCE_END.finditer(outer)), len(outer)]:
        sentence = outer[start:end]
        begin = start + len(sentence) - len(sentence.lstrip(" \n*_>\"'"))
        yield begin, outer[begin:end].strip()
        start = end


def _span(match: re.Match[str]) -> str:
    return "`code`" + "\n" * match[0].count("\n")


def _line(text: Text, plain: str, position: int) -> int:
    return text.line + plain.count("\n", 0, position)


def files_under(paths: list[Path]) -> list[Path]:
    """Return the files below these paths, or below the repository, without those that a tool has made."""
    files = [file for path in paths or [ROOT] for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [file for file in files if file.is_file() and not any(map(GENERATED.fullmatch, file.parts))]


def main(arguments: list[str]) -> int:
    """Print the findings; return 1 if there are any."""
    files = files_under([Path(argument).absolute() for argument in arguments])
    findings = [finding for file in files for finding in check_file(file)]
    for finding in findings:
        print(finding)  # noqa: T201
    print(f"{len(files)} files, {len(findings)} findings")  # noqa: T201
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
