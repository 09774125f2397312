"""The key of the tokens."""

from pathlib import Path

import pytest

from services.retention.redact_key import KeyFileError, key_path, read_key, token_of


def test_the_key_is_created_once_and_private(tmp_path: Path) -> None:
    key = read_key(tmp_path / "data")
    assert read_key(tmp_path / "data") == key
    assert len(key) == 32
    assert key_path(tmp_path / "data").stat().st_mode & 0o777 == 0o600
    assert [f.name for f in (tmp_path / "data").iterdir()] == ["redaction-key"]
    assert read_key(tmp_path / "other") != key


def test_a_token_follows_key_kind_and_number() -> None:
    first = token_of(bytes(32), "number", "5551234")
    assert first == token_of(bytes(32), "number", "5551234") == "redacted-uoumoqilksmi"
    others = {token_of(bytes(31) + b"1", "number", "5551234"), token_of(bytes(32), "text", "5551234")}
    assert len({first, *others, token_of(bytes(32), "number", "5551235")}) == 4


@pytest.mark.parametrize("models", ["", "00", "zz" * 32, "00" * 33])
def test_another_file_is_refused(tmp_path: Path, models: str) -> None:
    key_path(tmp_path).write_text(models)
    with pytest.raises(KeyFileError, match="not a redaction key"):
        read_key(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="file/redaction-key"):
        read_key(tmp_path / "file")
