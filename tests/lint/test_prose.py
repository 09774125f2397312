"""Each rule of the prose lint has a text that breaks it and one that does not."""

from pathlib import Path

import pytest

from tests.support import prose
from tests.support.prose import check_file, check_text
from tests.support.texts import Text

LONG = " ".join(["word"] * 26)


def rules(text: str) -> list[str]:
    return [rule for _, rule, _ in check_text(Text(1, text))]


@pytest.mark.parametrize(
    "text",
    [
        "Nobody reads the row.",
        "The row is read by whoever asks.",
        "The table is built anew.",
        "The client is told.",
        "The listener says so.",
        "The listener hears an event.",
        "The client wants a row.",
        "An event of ours is in the log.",
        "The file stands in the folder.",
        "A state is to be had.",
        "The row is to be read.",
        "Asterisk is asked for lists.",
        "It stays for ever.",
        "The read goes on.",
    ],
)
def test_a_banned_word_is_a_finding(text: str) -> None:
    assert set(rules(text)) == {"word"}


@pytest.mark.parametrize("opening", ["What", "Who", "Whoever", "Of", "By", "Nor", "Whose", "Whatever"])
def test_a_bad_opening_is_a_finding(opening: str) -> None:
    assert "opening" in rules(f"It is here. {opening} the row has is read.")


@pytest.mark.parametrize("text", [f"{LONG}.", f"Short. {LONG}.", f"A row ({LONG})."])
def test_a_long_sentence_is_a_finding(text: str) -> None:
    assert rules(text) == ["length"]


@pytest.mark.parametrize(
    "text",
    [
        "By default the second listener stands by.",
        "A client reads the row, and `nobody wants it` is code.",
        'Asterisk answers "No such thing as nobody".',
        f"Twenty-five words are enough: {' '.join(['word'] * 25)}.",
        "Go on to the next page.",
    ],
)
def test_plain_english_has_no_findings(text: str) -> None:
    assert rules(text) == []


def lines_of(path: Path, content: str) -> list[tuple[int, str]]:
    path.write_text(content, encoding="utf-8")
    return [(finding.line, finding.rule) for finding in check_file(path)]


@pytest.mark.parametrize(
    "content",
    [
        '"""Docstring."""\n\n\ndef read() -> None:\n    """Return a row that nobody reads."""\n',
        "#\n#\n#\n# The first line,\n# and nobody reads the second.\n",
        '\n\n\ndef read(row):\n    raise ValueError(f"nobody reads {row}")\n',
        '\n\n\n\noption(help="Read what nobody reads.")\n',
        '\n\n\n\ntyper.echo("nobody")\n',
        '\n\n\n\nREASON = "the log has what nobody reads"\n',
        "\n\n\n\nrow = 1  # nobody reads it\n",
        "\n\n\n\ndef told(row):\n    return row\n",
        "\n\n\n\ndef tell(known):\n    return row\n",
        "\n\n\n\n_said = 1\n",
        "\n\n\n\nself.found_ = 1\n",
        "\n\n\n\nfrom module import row as heard\n",
        "\n\n\n\nclass Held:\n    pass\n",
    ],
)
def test_a_python_file_is_read_with_its_lines(tmp_path: Path, content: str) -> None:
    ((line, rule),) = lines_of(tmp_path / "module.py", content)
    assert line == 5
    assert rule == ("word" if "nobody" in content else "name")


def test_code_and_keys_are_not_prose(tmp_path: Path) -> None:
    content = 'LOG.info("rows_told", nobody="nobody")\nrow = "nobody"  # noqa: S105\nrow.get(known=1)\n'
    assert lines_of(tmp_path / "module.py", content) == []


def test_members_of_stored_data_may_be_participles(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    assert lines_of(tmp_path / "schemas" / "event.py", "class Event:\n    heard: int\n") == []


def test_a_module_may_not_be_a_participle(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "told.py", "row = 1\n") == [(1, "name")]


def test_markdown_is_read_by_paragraph_item_and_cell(tmp_path: Path) -> None:
    content = (
        "# Nobody\n\n| what | Who reads |\n|---|---|\n\n- It is.\n- Nor here\n\n```\nnobody\n```\n\nA line,\nanew.\n"
    )
    assert lines_of(tmp_path / "page.md", content) == [
        (1, "word"),
        (3, "opening"),
        (7, "opening"),
        (14, "word"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.sql", "SELECT 1;\n-- read by nobody\n"),
        ("compose.yaml", "a: 1\nb: 2 # nobody\n"),
        ("a.conf", "\n; nobody"),
    ],
)
def test_comments_of_other_files_are_read(tmp_path: Path, name: str, content: str) -> None:
    assert lines_of(tmp_path / name, content) == [(2, "word")]


def test_findings_end_the_command_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("Nobody reads it.\n", encoding="utf-8")
    monkeypatch.setattr(prose, "files_under", lambda paths: paths)
    assert prose.main([str(tmp_path / "page.md")]) == 1
    assert "page.md:1: word" in capsys.readouterr().out
    (tmp_path / "page.md").write_text("A client reads it.\n", encoding="utf-8")
    assert prose.main([str(tmp_path / "page.md")]) == 0
