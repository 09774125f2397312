"""Every file, command, option, setting, make target and test that the documentation names exists."""

import re

import click
import typer

from services.cli.options import app
from tests.bench.parts import PARTS
from tests.docs.pages import ROOT, Name, anchors, lines, links, pages, spans

FOLDERS = ("api", "docker", "docs", "projections", "schemas", "services", "tests")
TESTS = list((ROOT / "tests").rglob("test_*.py"))


def missing(names: list[Name], present: set[str]) -> list[Name]:
    assert names
    return [name for name in names if name.text not in present]


def test_every_path_exists() -> None:
    paths = [name for name in spans() if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", name.text)]
    assert len(paths) > 100
    assert [name for name in paths if not (ROOT / name.text).exists()] == []


def test_every_file_that_the_code_names_exists() -> None:
    pattern = re.compile(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w./-]*\.(?:py|sql|md|tsv)\b")
    files = [file for folder in FOLDERS[:-1] for file in (ROOT / folder).rglob("*.py")]
    names = [Name(str(file), name) for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))]
    assert [name for name in names if not (ROOT / name.text).exists()] == []


def test_every_link_has_a_page_and_heading() -> None:
    broken = []
    for page, link in links():
        target, _, anchor = link.partition("#")
        file = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            broken.append((page, link))
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    names = [str(page.relative_to(ROOT / "docs")) for page in pages() if page.is_relative_to(ROOT / "docs")]
    assert [name for name in names if f"- {name}\n" not in navigation] == []


def test_every_test_exists() -> None:
    names = [Name(page, text) for page, line in spans() for text in re.findall(r"^test_\w+(?:\.py)?$", line)]
    functions = {name for file in TESTS for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))}
    assert len(names) > 150
    assert missing(names, functions | {file.name for file in TESTS}) == []


def commands() -> dict[str, set[str]]:
    """Return the commands of `ringledger` with their options."""
    subcommands: dict[str, click.Command] = vars(typer.main.get_command(app))["commands"]
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in subcommands.items()
    }


def test_every_command_and_option_exists() -> None:
    existing = commands()
    unknown, count = [], 0
    for page, line in lines():
        for command, rest in re.findall(r"\bringledger ([a-z][a-z-]*)\b([^#|]*)", line):
            if line.startswith(("exec ", "GRANT")) or not re.search(r"(^|[\s/])ringledger ", line):
                continue
            count += 1
            options = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            if command not in existing or options - existing[command]:
                unknown.append((page, line))
    assert count > 40
    assert unknown == []


def test_every_quoted_option_belongs_to_a_command() -> None:
    options = set().union(*commands().values()) | {"--help", "--profile"}
    names = [Name(page, text.split()[0].split("=")[0]) for page, text in spans() if text.startswith("--")]
    assert missing(names, options) == []


def test_every_setting_exists_and_is_documented() -> None:
    epilog = typer.main.get_command(app).epilog or ""
    settings = set(re.findall(r"`(RINGLEDGER_\w+)`", epilog))
    assert len(settings) > 8
    names = [Name(page, text) for page, line in lines() for text in re.findall(r"RINGLEDGER_[A-Z_]+[A-Z]", line)]
    assert missing(names, settings) == []
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert {setting for setting in settings if f"\n| `{setting}` |" not in table} == set()


def test_every_make_target_and_part_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z.-]+):", makefile, re.MULTILINE))
    names = [Name(page, text) for page, line in lines() for text in re.findall(r"^make ([a-z.-]+)", line)]
    assert missing(names, targets) == []
    parts = [Name(page, text) for page, line in lines() for text in re.findall(r"^make bench PART=(\w+)", line)]
    assert missing(parts, set(PARTS)) == []


def test_every_metric_exists() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "api").rglob("*.py"))
    names = [Name(page, text) for page, line in spans() for text in re.findall(r"^ringledger_\w+$", line)]
    assert [name for name in names if name.text.removesuffix("_total") not in source] == []
